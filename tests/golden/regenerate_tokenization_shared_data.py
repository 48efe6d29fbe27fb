"""Makes tokenization_shared_data.json: hashes of google-research/bert's tokens for the real data.

    git clone https://github.com/google-research/bert
    python tests/golden/regenerate_tokenization_shared_data.py bert

The data has to lie where tests/test_tokenization_shared_data.py looks for it. Takes some minutes.
"""

import importlib.util
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(checkout):
    test = load(HERE.parent / "test_tokenization_shared_data.py")
    original = load(HERE / "regenerate_tokenization.py").load_original(checkout)
    golden = {"vocabulary": test.load_vocabulary(test.VOCABULARY).sha256}
    for casing, do_lower_case in (("cased", False), ("uncased", True)):
        tokenizer = original.FullTokenizer(test.VOCABULARY, do_lower_case=do_lower_case)
        golden[casing] = {
            f"{name} {every}": test.digest(tokenizer.tokenize, name, every)
            for name in test.FILES
            for every in (401, 1)
        }
    content = json.dumps(golden, indent=1) + "\n"
    test.GOLDEN.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
