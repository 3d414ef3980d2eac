"""edgecnn: small CNNs from training to verified int8 files on low-resource devices.

The house, each line importing only what stands above it:

    errors                        the exception tree
    runtime                       device-safe: manifest, preprocessing, one inference engine
    measure                       device-safe: accuracy, statistics
    data, models                  data sets and architectures
    train, evaluate, checkpoint   from images to trained weights
    quantize, export              from weights to verified files
    report                        tables; formatting only
    cli                           one file per verb

Importing this package imports nothing heavy: no torch, no numpy.
"""

__version__ = "0.1.0"
