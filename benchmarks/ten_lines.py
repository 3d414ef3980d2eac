"""A classifier as one writes it by hand, which footprint.py holds edgecnn against.

``python ten_lines.py FILE IMAGE...``. It trusts its file, knows the model's input convention by
heart, and gives the number of a class.
"""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

interpreter = Interpreter(sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
height, width = source["shape"][1:3]
for name in sys.argv[2:]:
    picture = Image.open(name).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    interpreter.set_tensor(source["index"], (np.asarray(picture) ^ 0x80).view(np.int8)[None])
    interpreter.invoke()
    print(name, interpreter.get_tensor(target["index"])[0].argmax(), flush=True)
