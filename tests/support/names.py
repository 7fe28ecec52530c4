"""Names of people in many scripts, and texts that nobody sees."""

from __future__ import annotations

SCRIPTS = {
    "Latin": "José Ángel Çelik",
    "Latin, decomposed": "Jose\u0301",
    "Cyrillic": "Имя",
    "Greek": "Ἀριστοτέλης",
    "Hebrew": "שָׁלוֹם",
    "Arabic": "محمد",
    "Persian, with a non-joiner": "علی\u200cرضا",
    "Devanagari, with a joiner": "क्\u200dष",
    "Thai": "สมชาย",
    "Chinese": "王小明",
    "Japanese": "山田 太郎・ヤマダ",
    "Korean": "김철수",
    "Georgian": "გიორგი",
    "Ethiopic": "ሰላም",
    "Cherokee": "ᏣᎳᎩ",
    "Adlam, right to left beyond the first plane": "𞤀𞤣𞤤𞤢𞤥",
    "Kawi, of Unicode 15": "\U00011f04\U00011f12",
    "an emoji of several characters": "👩‍👩‍👧 family",
    "a flag of tags": "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "ideographic space inside": "王\u3000明",
    "private use": "\ue000",
    "digits": "1984",
    "one character": "X",
}
INVISIBLE = {
    "blanks": "   ",
    "no-break spaces": "\u00a0\u202f",
    "ideographic space": "\u3000",
    "zero width": "\u200b\u200b",
    "joiners": "\u200c\u200d",
    "soft hyphen": "\u00ad",
    "byte order mark": "\ufeff",
    "fillers of Hangul": "\u3164\u115f\u1160\uffa0",
    "empty Braille": "\u2800",
    "a mark without a letter": "\u0301",
    "variation selector": "\ufe0f",
    "tags": "\U000e0041",
    "no character": "\uffff",
}
