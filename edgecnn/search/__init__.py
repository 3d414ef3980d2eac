"""Search for designs and their training settings, accuracy on held-out training images against what files cost.

``space`` says what is searched, ``asked`` what a search was asked for, ``study`` where its trials are kept, ``sampler``
what is tried next. A trial is priced (``prices``, or ``table`` for a target that is not at hand) before it is trained
(``tryout``), and ended early where ``halving`` says so. ``worker`` runs trials until there are enough, ``lost`` finds
those whose worker is gone, ``crew`` looks after worker processes, and ``standing`` reads off how far it has come.
"""
