"""A multilingual text encoder carries a model from one language to another; tiny local encoders of both kinds."""

from pathlib import Path

import numpy as np
import pytest
from transformers import (
    AutoModelForSequenceClassification,
    AutoProcessor,
    BertConfig,
    BertModel,
    BertTokenizer,
    XLMRobertaConfig,
    XLMRobertaModel,
    XLMRobertaTokenizer,
)

from modeling_hfr_ame.data import SentimentCollator, SentimentDataset, load_stored_dataset
from modeling_hfr_ame.evaluation import predict
from modeling_hfr_ame.training import main
from tests.data.test_domains import make_domain

ENGLISH = ("good film", "bad film")
CHINESE = ("这部电影很好", "这部电影很差")
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
MODEL = ["hidden_size=16", "num_attention_heads=2", "ffn_size=16", "adapter_size=8", "num_adapter_heads=2"]


def save_mbert(folder: Path) -> Path:
    characters = sorted({*"0123456789", *"".join(CHINESE)})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", *characters]
    tokenizer = BertTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, do_lower_case=False)
    tokenizer.save_pretrained(folder)
    BertModel(BertConfig(vocab_size=len(pieces), max_position_embeddings=32, **SIZES)).save_pretrained(folder)
    return folder


def save_xlm_roberta(folder: Path) -> Path:
    pieces = ["▁good", "▁bad", "▁film", "▁", "这部电影", "很", "好", "差", *"0123456789"]
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary = [*special, *((piece, -2.0) for piece in pieces), ("<mask>", 0.0)]
    XLMRobertaTokenizer(vocab=vocabulary).save_pretrained(folder)
    config = XLMRobertaConfig(
        vocab_size=len(vocabulary), max_position_embeddings=34, type_vocab_size=1, pad_token_id=1, **SIZES
    )
    XLMRobertaModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("save", [save_mbert, save_xlm_roberta])
def test_encoder_of_two_languages_trains_on_one_and_reads_the_other(save: object, tmp_path: Path) -> None:
    assert callable(save)
    encoder = save(tmp_path / "multilingual")
    source = make_domain(tmp_path, "mosi", texts=ENGLISH)
    target = make_domain(tmp_path, "sims", low=-1.0, high=1.0, texts=CHINESE)
    words = ["--sources", str(source.folder), "--target", str(target.folder), "--output_dir", str(tmp_path / "runs")]
    loop = ["--global_batch_size", "4", "--num_train_epochs", "1", "--use_cpu", "--disable_tqdm", "true"]
    own = ["--model", "midg", "--modalities", "t", "--text_encoder", str(encoder), "--seeds", "1"]
    (summary,) = main([*words, *loop, *own, "--config_overrides", *MODEL])
    model = AutoModelForSequenceClassification.from_pretrained(summary.folder)
    processor = AutoProcessor.from_pretrained(summary.folder)
    unknown = processor.tokenizer.unk_token_id
    for text in (*ENGLISH, *CHINESE):
        ids, _ = processor.encode_words(text.split())
        assert unknown not in ids.tolist(), text
        assert len(ids) >= 4
    rows = load_stored_dataset(tmp_path / "runs" / "domains", "test")
    dataset = SentimentDataset(rows, processor, dataset_name="sims", split="test", modalities="t")
    _, scores, labels = predict(model.eval(), dataset, SentimentCollator(processor), device="cpu")
    assert np.isfinite(scores).all()
    assert labels.tolist() == [-3.0, -1.5, 0.0, 1.5, 3.0]
    # Opposite Chinese sentences are different inputs, not one row of unknown tokens.
    assert len({round(float(score), 5) for score in scores[:2]}) == 2
