"""The Korean form of each phrase that a page shows."""

KOREAN = {
    # Pages
    "Curves": "학습 곡선",
    "Throughput": "처리량",
    "Evaluation": "평가",
    "Masks filled in": "[MASK] 채우기",
    "Configuration": "설정",
    "Data": "데이터",
    "Environment": "실행 환경",
    "Examples": "예문",
    "Figures": "평가 결과",
    "in eval_results.txt": "eval_results.txt의 이름",
    "Confusion matrix": "혼동 행렬",
    "The most confident mistakes": "가장 확신한 오답",
    "By length": "길이별 결과",
    "Settings": "설정",
    # A pretraining run
    "Pretraining: {name}": "사전학습: {name}",
    "{step} of {steps}": "{steps} 중 {step}",
    "{step} of {steps}, in progress or stopped": "{steps} 중 {step}(진행 중이거나 중단됨)",
    "{share} of {wall} moved the weights": "전체 {wall} 가운데 {share}가 실제 학습에 쓰임",
    "{loss}, at best {best} at step {step}": "{loss}(최저 {best}, {step} 스텝)",
    " and {count} more": " 외 {count}개",
    "last: step {step}": "마지막: {step} 스텝",
    "best: step {step}": "최고: {step} 스텝",
    "topic 은/는": "은/는",
    "topic 은/는, noun masked": "은/는(명사를 가림)",
    "subject 이/가": "이/가",
    "subject 이/가, noun masked": "이/가(명사를 가림)",
    "object 을/를": "을/를",
    "object 을/를, noun masked": "을/를(명사를 가림)",
    "and 와/과": "와/과",
    "and 와/과, noun masked": "와/과(명사를 가림)",
    "direction 으로/로": "으로/로",
    "direction 으로/로, noun masked": "으로/로(명사를 가림)",
    "case": "격 조사",
    "order of particles": "조사의 순서",
    "order of endings": "어미의 순서",
    "agreement of honorifics": "높임 호응",
    "honorifics for oneself": "자기를 높임",
    "tense": "시제",
    "negative polarity": "부정 표현과의 호응",
    "negative adverb": "안/못",
    "negative spelling": "안/않의 표기",
    "nouns": "명사",
    "josa and endings": "조사와 어미",
    "frequent": "자주 나오는 조각",
    "middle": "중간",
    "rare": "드문 조각",
    "whole eojeols": "어절 전체",
    "records": "레코드",
    "documents": "문서",
    "sentences": "문장 수",
    "pieces in a record, at most": "레코드의 최대 조각 수",
    "masked pieces in a record, at most": "레코드에서 가리는 최대 조각 수",
    "sentence objective": "문장 과제",
    "steps": "스텝",
    "parameters": "파라미터",
    "started": "시작",
    "continued": "이어서 실행",
    "loss in training": "학습 손실",
    "time left": "남은 시간",
    "held-out loss": "평가 손실",
    "training": "학습",
    "held out": "평가",
    "step": "스텝",
    "median": "중앙값",
    "sentence": "문장",
    "the likeliest pieces": "확률이 높은 조각",
    "Trained on": "학습 데이터",
    "Evaluated on": "평가 데이터",
    "Digests and files": "해시와 파일",
    "Run": "실행",
    "Model": "모델",
    "Optimizer": "옵티마이저",
    "Step": "학습 스텝",
    "Loss": "손실",
    "Masked LM: loss": "MLM 손실",
    "Masked LM: accuracy": "MLM 정확도",
    "Masked LM: held-out accuracy by kind": "종류별 MLM 정확도(평가)",
    "Grammar: minimal pairs in the right order": "문법: 올바른 순서로 매긴 최소 대립쌍",
    "Next sentence: loss": "NSP 손실",
    "Next sentence: accuracy": "NSP 정확도",
    "z-loss": "z-loss",
    "Learning rate": "학습률",
    "Norm of the gradient": "기울기 노름",
    "Loss scale": "손실 스케일",
    "Sequences a second": "초당 시퀀스",
    "Pieces a second, padding left out": "초당 조각(패딩 제외)",
    "Share of the time spent waiting for input": "입력 대기 시간 비율",
    "Model FLOPs utilisation": "모델 FLOPs 이용률",
    "loss": "손실",
    "masked LM loss": "MLM 손실",
    "masked LM accuracy": "MLM 정확도",
    "Discriminator: loss": "판별기 손실",
    "Replaced pieces, held out": "바뀐 조각(평가)",
    "are replaced": "바뀐 조각의 비율",
    "of them found": "그중 찾아낸 비율",
    "right of those named": "바뀌었다고 한 것 중 맞은 비율",
    "discriminator loss": "판별기 손실",
    "discriminator accuracy": "판별기 정확도",
    "replaced pieces": "바뀐 조각",
    "replaced pieces found": "찾아낸 바뀐 조각",
    "named as replaced and so": "바뀌었다고 하여 맞은 것",
    "masked LM perplexity": "MLM 퍼플렉서티",
    "next sentence loss": "NSP 손실",
    "next sentence accuracy": "NSP 정확도",
    "examples": "예제 수",
    "masked LM accuracy, last": "MLM 정확도(마지막)",
    "right": "정답률",
    "predictions": "예측 수",
    "goodput": "유효 시간 비율",
    "grammar, last": "문법(마지막)",
    "pairs right": "맞힌 쌍",
    "grammar: pairs right": "문법: 맞힌 쌍",
    "grammar: pairs right without spaces": "문법: 띄어쓰기 없이 맞힌 쌍",
    "None yet (--do_eval, --eval_every).": "아직 없습니다(--do_eval, --eval_every).",
    "By kind of masked piece. An eojeol counts where all of its pieces are masked, and is right where all are. "
    "Frequent pieces make up the first half of the text, middle ones the next 40%, rare ones the last tenth.": (
        "가려진 조각의 종류별 결과입니다. 어절은 모든 조각이 가려졌을 때만 세고, 모두 맞아야 정답입니다. "
        "자주 나오는 순서로 늘어놓아 출현 횟수의 절반까지가 자주 나오는 조각, 그다음 40%가 중간, "
        "마지막 10%가 드문 조각입니다."
    ),
    # A fine-tuned model
    "Fine-tuning: {task}": "파인튜닝: {task}",
    "classification": "분류",
    "tagging of entities": "개체명 인식",
    "relations of entities": "관계 추출",
    "answers to questions": "질의응답",
    "multiple choice": "객관식 문제",
    "{count} held-out examples, step {step}.": "평가 예제 {count}개, {step} 스텝.",
    "{shortest} to {longest} pieces": "조각 {shortest}~{longest}개",
    "{shortest} to {longest} characters": "{shortest}~{longest}자",
    "learning rate": "학습률",
    "precision": "정밀도",
    "recall": "재현율",
    "F1": "F1",
    "F1, micro": "F1(micro 평균)",
    "F1, macro": "F1(macro 평균)",
    "area under precision and recall": "정밀도-재현율 곡선 아래 면적",
    "Pearson's correlation": "피어슨 상관계수",
    "Spearman's correlation": "스피어만 상관계수",
    "exact match": "완전 일치",
    "ROUGE-W": "ROUGE-W",
    "exact match with particles": "조사를 떼지 않은 완전 일치",
    "F1 with particles": "조사를 떼지 않은 F1",
    "ROUGE-W with particles": "조사를 떼지 않은 ROUGE-W",
    "accuracy without an answer": "답이 없는 질문의 정확도",
    "best threshold": "최적 임곗값",
    "F1 at the best threshold": "최적 임곗값에서의 F1",
    "ROUGE-W at the best threshold": "최적 임곗값에서의 ROUGE-W",
    "F1 of entities": "개체 F1",
    "F1 of entities, micro": "개체 F1(micro 평균)",
    "F1 of characters": "글자 F1",
    "accuracy": "정확도",
    "figure": "지표",
    "value": "값",
    "text": "텍스트",
    "label": "정답",
    "predicted": "예측",
    "probability": "확률",
    "Rows are the true classes, columns the predicted ones; the colour is the share of the row.": (
        "행은 정답, 열은 예측이며 색은 행에서 차지하는 비율입니다."
    ),
    "nothing above 0:": "0인 항목:",
    # The page of masks
    "What stands at [MASK]": "[MASK]에 들어갈 말",
    "Write [MASK] in the place of a piece. Click a piece of the sentence for the model's alternatives.": (
        "조각 자리에 [MASK]를 쓰세요. 문장의 조각을 누르면 모델이 그 자리에 넣을 조각이 나옵니다."
    ),
    "Checkpoint": "체크포인트",
    "step {step}": "{step} 스텝",
    "best, step {step}": "최고, {step} 스텝",
    "The vocabulary does not know much of the text. Is it that of this model and of this language?": (
        "사전에 없는 글자가 많습니다. 이 모델과 이 언어의 사전이 맞는지 확인하세요."
    ),
    "BERT's lower-casing decomposes Hangul, and the vocabulary has syllables: give --do_lower_case=false.": (
        "BERT의 소문자 변환이 한글을 자모로 분해하는데 사전에는 음절이 있습니다. --do_lower_case=false를 지정하세요."
    ),
    "there is no {mask} in {text}: write it in the place of the piece to predict.": (
        "{text}에 {mask}가 없습니다. 예측할 조각 자리에 쓰세요."
    ),
    "the text has {pieces} pieces, but the model has {positions} positions: shorten it.": (
        "글의 조각이 {pieces}개인데 모델은 {positions}개까지 받습니다. 글을 줄이세요."
    ),
    "the text has {characters} characters; {most} are taken.": (
        "글이 {characters}자입니다. {most}자까지 쓸 수 있습니다."
    ),
    "there is no checkpoint {name} any more: load the page again.": (
        "체크포인트 {name}이(가) 이제 없습니다. 페이지를 새로 고치세요."
    ),
    "Pieces": "개수",
    "Fill": "채우기",
    "Morphemes (Mecab)": "형태소 (Mecab)",
    "Pieces (WordPiece)": "조각 (WordPiece)",
    "{unknown} of {pieces} pieces are [UNK]": "조각 {pieces}개 가운데 [UNK] {unknown}개",
    "In place of {piece}": "{piece} 자리에",
    "{piece} has {share}, rank {rank} of {pieces}": "{piece}: {share}, {pieces}개 가운데 {rank}위",
    "The program does not answer. Is it still running?": "프로그램이 응답하지 않습니다. 아직 실행 중인지 확인하세요.",
    # Vocabularies
    "Vocabulary": "사전",
    "Vocabularies compared": "사전 비교",
    "{lines} lines, {characters} characters, of {files} file(s).": "파일 {files}개, {lines}줄, {characters}자입니다.",
    "{lines} lines: {reserved} special tokens, {alphabet} characters (plain and with `##`), {learned} learned "
    "pieces, {unused} unused.": (
        "모두 {lines}줄: 특수 토큰 {reserved}개, 글자 {alphabet}개(그대로와 `##` 붙은 것), 학습한 조각 {learned}개, "
        "빈자리 {unused}개."
    ),
    "{lines} lines: those of another vocabulary with their ids, {filled} new pieces in its `[unusedN]` and "
    "{appended} behind it (which ones, `{file}` says); {unused} unused.": (
        "모두 {lines}줄: 기존 사전의 조각은 번호를 그대로 두고, `[unusedN]` 자리에 새 조각 {filled}개, 그 뒤에 "
        "{appended}개를 더했습니다(목록은 `{file}`). 빈자리 {unused}개."
    ),
    "Learned with `{learner}` from {files} file(s): {lines} lines, {characters} characters, {words} distinct "
    "words (analyser {analyser}, continuation {continuation}, {casing}).": (
        "`{learner}`로 파일 {files}개에서 학습: {lines}줄, {characters}자, 서로 다른 단어 {words}개(분석기 {analyser}, "
        "이어짐 표시 {continuation}, {casing})."
    ),
    "lower-cased": "소문자로 바꿈",
    "cased": "대소문자 구분",
    "{analyser}, lower-cased": "{analyser}, 소문자로 바꿈",
    "Characters left out: {characters}, {occurrences} occurrences.": (
        "제외한 글자 {characters}개(출현 {occurrences}번)."
    ),
    "No lines were held out, so nothing was measured.": "따로 둔 줄이 없어 측정하지 않았습니다.",
    "A character that only these lines have counts as unknown here, though the vocabulary has it.": (
        "이 줄에만 나오는 글자는 사전에 있어도 여기서는 모르는 글자로 셉니다."
    ),
    "A stock BERT tokenizer is google-research/bert's, without an analyser, on the same `vocab.txt`: where it "
    "cuts an eojeol alike, a program that knows no Mecab reads the text as the model does.": (
        "일반 BERT 토크나이저는 분석기 없이 같은 `vocab.txt`를 쓰는 google-research/bert의 것입니다. "
        "어절을 똑같이 자르면 Mecab을 모르는 프로그램도 글을 모델과 똑같이 읽습니다."
    ),
    "An answer can be hit where its first and last characters are the first and last of a token: no model "
    "that marks a first and a last token can give more answers exactly.": (
        "답의 첫 글자와 마지막 글자가 각각 어느 조각의 처음과 끝이면 맞힐 수 있는 답입니다. 시작 조각과 끝 조각을 "
        "고르는 모델은 이보다 많은 답을 정확히 맞힐 수 없습니다."
    ),
    "{share} ({reachable} of {answers})": "{share}({answers}개 중 {reachable}개)",
    "On lines that were held out": "학습에 쓰지 않은 줄에서",
    "On this text": "이 글에서",
    "this vocabulary": "이 사전",
    "lines of the vocabulary": "사전의 줄 수",
    "analyser": "분석기",
    "lines": "줄",
    "eojeols": "어절",
    "characters covered": "사전에 있는 글자",
    "eojeols with [UNK]": "[UNK]가 든 어절",
    "[UNK] among the pieces": "조각 가운데 [UNK]",
    "pieces per eojeol": "어절당 조각 수",
    "pieces per character": "글자당 조각 수",
    "eojeols in one piece": "조각 하나로 된 어절",
    "eojeols cut alike by a stock BERT tokenizer": "일반 BERT 토크나이저와 똑같이 잘린 어절",
    "answers that token boundaries can hit": "조각 경계로 맞힐 수 있는 답",
    "Pieces of an eojeol": "어절의 조각 수",
    "Share of the eojeols that are cut into so many pieces.": "조각 수별 어절의 비율",
    "Pieces of a line": "줄의 조각 수",
    "Share of the lines that have so many pieces, special tokens not counted.": (
        "조각 수별 줄의 비율(특수 토큰 제외)"
    ),
    "Length of the pieces in the text": "글에서 조각의 길이",
    "Share of the pieces that have so many characters, as often as they occur.": (
        "글자 수별 조각의 비율(출현 횟수 기준)"
    ),
    "Length of the pieces in the vocabulary": "사전에서 조각의 길이",
    "Share of the pieces that have so many characters, each once.": "글자 수별 조각의 비율(조각마다 한 번)",
}
