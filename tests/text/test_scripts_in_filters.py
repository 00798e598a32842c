"""Filters, search and mining mean the same in scripts without spaces, with marks, of other widths."""

from __future__ import annotations

import json
import unicodedata

import pytest

from synth.filters.citations import Citations
from synth.filters.contamination import Contamination
from synth.filters.distinct import Distinct
from synth.filters.exact_duplicate import ExactDuplicate
from synth.filters.leaks import Leaks
from synth.filters.length import Length
from synth.filters.mentions import Mentions
from synth.filters.near_duplicate import NearDuplicate, numbers_of
from synth.filters.repetition import Repetition
from synth.filters.truncation import Truncation
from synth.filters.wording import Wording
from synth.parsers.whole import Whole
from synth.search.index import Bm25
from synth.search.mining import Miner, Mining
from synth.tools.teacher_probe import hit, probes
from synth.verifiers.spans import Spans

# One sentence, one with a character or a word changed, and one about something else.
TEXTS = {
    "zh": ("春天来了公园里的花都开了人们在湖边散步", "春天来了公园里的花都开了人们在河边散步", "火车每小时行驶八十公里到达终点需要半天时间"),
    "ja": ("昨日は雨が降ったので家で本を読んで過ごしました", "昨日は雪が降ったので家で本を読んで過ごしました", "電車は毎朝とても混んでいて座ることができません"),
    "th": ("เมื่อวานฝนตกหนักมากฉันจึงอยู่บ้านอ่านหนังสือทั้งวัน", "เมื่อวานฝนตกหนักมากฉันจึงอยู่บ้านอ่านหนังสือทั้งคืน", "รถไฟขบวนนี้ออกจากสถานีกรุงเทพทุกเช้าเวลาแปดนาฬิกา"),
    "km": ("ម្សិលមិញមានភ្លៀងធ្លាក់ខ្លាំងខ្ញុំនៅផ្ទះអានសៀវភៅពេញមួយថ្ងៃ", "ម្សិលមិញមានភ្លៀងធ្លាក់ខ្លាំងខ្ញុំនៅផ្ទះអានសៀវភៅពេញមួយខែ", "រថភ្លើងចេញពីស្ថានីយរៀងរាល់ព្រឹកនៅម៉ោងប្រាំបី"),
    "lo": ("ມື້ວານນີ້ຝົນຕົກໜັກຂ້ອຍຈຶ່ງຢູ່ເຮືອນອ່ານປຶ້ມໝົດມື້", "ມື້ວານນີ້ຝົນຕົກໜັກຂ້ອຍຈຶ່ງຢູ່ເຮືອນອ່ານປຶ້ມໝົດຄືນ", "ລົດໄຟອອກຈາກສະຖານີທຸກເຊົ້າເວລາແປດໂມງ"),
    "my": ("မနေ့ကမိုးသည်းထန်စွာရွာသောကြောင့်အိမ်မှာစာအုပ်ဖတ်နေခဲ့သည်", "မနေ့ကမိုးသည်းထန်စွာရွာသောကြောင့်အိမ်မှာစာအုပ်ဖတ်နေခဲ့တယ်", "ရထားသည်မနက်တိုင်းရှစ်နာရီတွင်ဘူတာမှထွက်ခွာသည်"),
}  # fmt: skip


@pytest.mark.parametrize("language", TEXTS)
def test_near_duplicates_and_draws_of_scripts_without_spaces(language):
    first, twin, other = TEXTS[language]
    kept, dropped = NearDuplicate().split(
        [{"question": text} for text in (first, twin, other)]
    )
    assert [len(kept), len(dropped)] == [2, 1]
    assert other in [row["question"] for row in kept]
    rows = [
        {"question": "q", "rationale": text} for text in (first, twin, other)
    ]
    assert len(Distinct().split(rows)[0]) == 2
    assert Bm25((other, first)).best([twin], 1)[0][0][0] == 1


def test_a_form_is_no_other_text():
    texts = [
        "ｱﾌﾟﾘは１２個、Ａです。カタカナの文章がここにあります",
        "アプリは12個、aです。カタカナの文章がここにあります",
    ]
    texts += [
        unicodedata.normalize("NFD", texts[1]),
        texts[1].replace("文", "\u200b文"),
        "\ufeff" + texts[1],
    ]
    rows = [{"question": text} for text in texts]
    assert len(NearDuplicate().split(rows)[0]) == 1
    assert len(ExactDuplicate().split(rows)[0]) == 1


def test_numbers_of_other_scripts_are_told_apart():
    assert numbers_of("共１２个") == numbers_of("共12个") == ("12",)
    assert numbers_of("٢٧٠ كم") == numbers_of("२७० किमी") == ("270",)
    assert numbers_of("十二个苹果一共") != numbers_of("十五个苹果一共")
    assert numbers_of("一共") == numbers_of("总共") == ()
    rows = [
        {"question": f"小明家里有{n}只小鸡在院子里跑来跑去请问还剩下多少只"}
        for n in ("十二", "十五", "十二")
    ]
    assert len(NearDuplicate().split(rows)[0]) == 2


def contaminated(tmp_path, item, row):
    (tmp_path / "items.jsonl").write_text(json.dumps({"question": item}))
    return Contamination(against=str(tmp_path / "items.jsonl")).split(
        [{"question": row}]
    )[1]


@pytest.mark.parametrize("language", TEXTS)
def test_contamination_by_scripts_without_spaces(language, tmp_path):
    item, _, other = TEXTS[language]
    assert contaminated(tmp_path, item, f"Solve: {item}! {other}")
    assert contaminated(tmp_path, item, unicodedata.normalize("NFD", item))
    assert not contaminated(tmp_path, item, other)


def test_stems_that_all_questions_share_are_no_contamination(tmp_path):
    assert not contaminated(
        tmp_path,
        "下列说法中正确的是哪一个关于地球自转",
        "下列说法中正确的是哪一个有关水的沸点",
    )
    assert not contaminated(
        tmp_path, "ข้อใดต่อไปนี้ถูกต้องเกี่ยวกับดวงอาทิตย์", "ข้อใดต่อไปนี้ถูกต้องเกี่ยวกับแม่น้ำโขง"
    )


@pytest.mark.parametrize("margin", [0.95, None])
def test_mining_in_chinese_finds_negatives_and_no_twin_of_the_positive(margin):
    positive = "植物通过光合作用吸收阳光，制造养分，并释放氧气。"
    twins = [
        unicodedata.normalize("NFKC", positive),
        positive.replace("，", "\u200b，"),
        positive.replace("。", ""),
    ]
    others = [
        "光合作用需要水、二氧化碳以及很多很多的叶绿素才能够进行下去。",
        "长城在北方。",
    ]
    row = {"query": "什么是光合作用", "positive": positive}
    found = next(
        Miner([positive, *twins, *others], Mining(margin=margin)).rows([row])
    )["negatives"]
    assert [hit["text"] for hit in found] == others[:1]


def test_leaks_lengths_repetition_and_banned_words():
    hidden = TEXTS["zh"][0]
    assert (
        Leaks(hidden="hidden")
        .judge({"rationale": f"因为{hidden}。", "hidden": hidden})
        .keep
        is False
    )
    assert (
        Leaks(hidden="hidden")
        .judge({"rationale": "春天来了，花开了。", "hidden": hidden})
        .keep
        is True
    )
    assert Length(least=10).judge({"rationale": hidden}).marks == {"length": 13}
    assert Repetition().judge({"rationale": "我不知道" * 30}).reason == "loop"
    assert (
        Repetition()
        .judge({"rationale": "".join(TEXTS["zh"]) + "".join(TEXTS["ja"])})
        .keep
        is True
    )
    assert Wording(banned=("人工智能",)).judge(
        {"text": "这是人工智能的时代"}
    ).marks == {"what": "人工智能"}
    assert Wording(banned=("人工",)).judge({"text": "人们在工作"}).keep is True
    assert (
        Wording(once=("head",))
        .judge({"text": "他在北京", "head": "北京"})
        .reason
        == "repeats"
    )
    assert Whole(least=3).parse("因为天气很冷。", {})["text"]


def test_quotations_names_and_ends():
    source = "他住在北京市，名叫李明。हिन्दी भाषा है।"
    assert Spans().verify("北京", source)
    assert Spans().verify("हिन्दी भाषा", source)
    assert not Spans().verify("हिन्द", source)
    assert not Spans().verify("amp", "the lamp")
    assert Mentions(must=("n",)).judge({"text": source, "n": "李明"}).keep
    assert (
        Citations()
        .judge({"sources": [source], "reply": "他说「住在上海市的李明」"})
        .reason
        == "not_in_source"
    )
    assert (
        Truncation().judge({"reply": "因为今天下雨，所以我们，"}).reason
        == "broken_sentence"
    )
    assert (
        Truncation().judge({"reply": "因为今天下雨，所以我们在家。"}).keep
        is True
    )


def test_a_probe_halves_a_question_without_spaces():
    import random

    item = {
        "question": TEXTS["zh"][0] + TEXTS["zh"][2],
        "choices": ["是", "不是"],
        "target": "是",
    }
    last = [
        probe
        for probe in probes(item, random.Random(0))
        if probe["kind"] == "continued"
    ]
    assert last[0]["shown"] + last[0]["wanted"] == item["question"]
    assert hit("continued", last[0]["wanted"], last[0]["wanted"])
    assert not hit("continued", TEXTS["zh"][1], last[0]["wanted"])
