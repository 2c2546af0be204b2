"""Languages of texts, and a text in each, to start from."""

LANGUAGES = {
    "English": "en-us",
    "中文": "cmn",
    "Español": "es",
    "Français": "fr-fr",
    "Deutsch": "de",
    "日本語": "ja",
}
"""Of texts: name -> voice."""
EXAMPLES = [
    ["Hello! I was a photo a minute ago. Nice to meet you.", "English"],
    ["你好！一分钟前我还只是一张照片。很高兴认识你。", "中文"],
    ["¡Hola! Hace un minuto yo era solo una foto.", "Español"],
    ["Bonjour ! Il y a une minute, je n'étais qu'une photo.", "Français"],
    ["Guten Tag! Vor einer Minute war ich nur ein Foto.", "Deutsch"],
    ["はじめまして。さっきまで、ただの しゃしんでした。", "日本語"],
]
"""Text and language. Japanese is in kana: kanji need the extra `[japanese]`."""
