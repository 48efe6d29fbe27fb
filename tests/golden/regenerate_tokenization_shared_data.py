"""Makes tokenization_shared_data.json: hashes of google-research/bert's tokens for the real data.

    git clone https://github.com/google-research/bert
    python tests/golden/regenerate_tokenization_shared_data.py bert

The data has to lie where tests/test_tokenization_shared_data.py looks for it. Takes some minutes.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(checkout):
    import regenerate_tokenization

    sys.path.insert(0, str(HERE.parent))
    import test_tokenization_shared_data as test

    original = regenerate_tokenization.load_original(checkout)
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
