import hashlib
import os
import signal
import sys
import time

import numpy as np


class Model:
    def __init__(self, path):
        data = np.load(path)
        self.table = dict(zip(data['keys'].tolist(), data['logits'], strict=True))
        self.fault, self.takes_uint8 = str(data['fault']), bool(data['takes_uint8'])
        self.largest_batch = int(data['most']) or None

    def __call__(self, images):
        assert 'motivation' not in sys.modules and 'torch' not in sys.modules
        assert self.largest_batch is None or len(images) <= self.largest_batch
        if self.fault == 'segfault':
            print('fatal: about to fall')
            print('  warnings.warn(')
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.fault == 'hang':
            time.sleep(100)
        if self.fault == 'memory':
            np.ones(2**28, np.uint8)
        if self.fault == 'exit':
            raise SystemExit(0)
        logits = np.stack([self.table[hashlib.sha1(image.tobytes()).hexdigest()] for image in images])
        if self.fault.startswith('dtype '):
            return logits.astype(self.fault.split()[1])
        if self.fault.startswith('single ') and len(images) == 1:
            return logits + float(self.fault.split()[1])
        return logits


def load(path):
    return Model(path)
