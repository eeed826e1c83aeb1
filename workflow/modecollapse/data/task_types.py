"""What kind of task a prompt is, told by its words: for data sets that have no column `task`.

The types are those of paper RL (table 2). The rules are ordered, deterministic and English; they look at how sentences
of the request begin, not at what they mention, and at nothing but its first and its last paragraph: what stands between
is the text that the request is about. docs/data.md has them in words.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from modecollapse.data.transformations.words import normalised


class TaskType(StrEnum):
    """Kinds of tasks."""

    BRAINSTORM = "brainstorm"
    CHAT = "chat"
    CLASSIFICATION = "classification"
    CLOSED_QA = "closed_qa"
    EXTRACT = "extract"
    GENERATION = "generation"
    OPEN_QA = "open_qa"
    REWRITE = "rewrite"
    SUMMARIZATION = "summarization"
    TRANSLATION = "translation"
    OTHER = "other"


REACH = 400
"""Characters of the first and of the last paragraph that are looked at."""
PASSAGE = 120
"""A prompt with so many characters beside these paragraphs brings a text with it."""

_Rules = Sequence[tuple[TaskType, re.Pattern[str]]]


def _rules(*rules: tuple[TaskType, str]) -> _Rules:
    return [(kind, re.compile(pattern)) for kind, pattern in rules]


_POLITE = re.compile(
    r"(?:(?:hi|hello|hey)(?: there)?\b,? ?|please,? |kindly |now,? |then,? |so,? |ok(?:ay)?,? |and |also,? |"
    r"(?:can|could|would|will) you (?:please )?|i (?:want|need|would like) you to |i'd like you to |"
    r"help me (?:to )?|your task is to |you (?:should|must) |let's |(?:instruction|task|question|prompt) ?)*"
)
"""What may stand before the verb of a request."""

_GIVE = r"(?:write|give|provide|make|create|produce|generate|prepare|draft)(?: (?:me|us))?"
_WITHIN = r"(?: (?!about\b|of\b|on\b|for\b|in\b|that\b|with\b|to\b)[\w'-]+){0,4}"
"""Words before the noun that is asked for, none of which begins what it is about."""

_REQUESTS = _rules(
    (TaskType.TRANSLATION, r"(?:re)?translat(?:e|ion)\b"),
    (TaskType.TRANSLATION, rf"{_GIVE}{_WITHIN} translation\b"),
    (TaskType.TRANSLATION, r"how (?:do|would|can) (?:you|i|we|one) say\b.* in [a-z]+$"),
    (TaskType.SUMMARIZATION, r"(?:summari[sz]e|summary|sum up|condense|tl;? ?dr)\b"),
    (TaskType.SUMMARIZATION, rf"{_GIVE}{_WITHIN} (?:summary|synopsis|abstract|tl;? ?dr)\b"),
    (TaskType.SUMMARIZATION, r"(?:what (?:is|are)|give(?: me)?|state|list) the (?:main|key) (?:points?|ideas?) of\b"),
    (
        TaskType.REWRITE,
        r"(?:rewrite|re-write|rephrase|paraphrase|reword|proofread|shorten|simplify|reformulate|revise|edit|polish|"
        r"improve)\b(?! (?:my (?:life|health|sleep|skills?)))",
    ),
    (
        TaskType.REWRITE,
        r"(?:correct|fix)\b.*\b(?:grammar|spelling|punctuation|sentences?|text|mistakes|errors|typos)\b",
    ),
    (
        TaskType.REWRITE,
        r"make (?:it|this|the (?:following|text|sentence|paragraph|email|letter))\b.*\b(?:more|less|[a-z]+er)\b",
    ),
    (
        TaskType.REWRITE,
        r"(?:change|convert|turn|put|transform) (?:this|these|the (?:following|given|text|sentences?|paragraph))\b",
    ),
    (TaskType.CLASSIFICATION, r"(?:classify|categori[sz]e|label|tag)\b"),
    (TaskType.CLASSIFICATION, r"(?:identify|determine|detect|decide|tell me|what is|what's)\b.*\bsentiment\b"),
    (TaskType.CLASSIFICATION, r"(?:determine|decide|tell me|identify|say) (?:if|whether|which)\b"),
    (
        TaskType.CLASSIFICATION,
        r"(?:is|are) (?:this|these|the (?:following|given|text|review|tweet|sentence|statement))\b.* or\b",
    ),
    (TaskType.CLASSIFICATION, r"(?:which|what) (?:category|class|topic|genre) (?:does|do|is)\b"),
    (TaskType.EXTRACT, r"(?:extract|pull out|pick out)\b"),
    (
        TaskType.EXTRACT,
        r"(?:find|list|identify|name|give|highlight|copy|get)\b.*\b(?:in|from|mentioned|of) "
        r"(?:the |this )?(?:(?:following|given|above) )?"
        r"(?:text|passage|paragraph|article|sentences?|document|email|following|above)\b",
    ),
    (TaskType.BRAINSTORM, r"(?:brainstorm|suggest|recommend)\b"),
    (TaskType.BRAINSTORM, r"(?:come up with|think of)\b"),
    (
        TaskType.BRAINSTORM,
        r"(?:give|list|share|name|provide|generate|write|tell|propose|offer|make|create)\b(?: (?:me|us))?"
        rf"{_WITHIN} (?:ideas?|ways|tips|suggestions?|names|titles|topics|reasons|options|alternatives|activities|"
        r"recommendations?|slogans|(?:list of (?:\w+ ){0,3}(?:ideas?|ways|tips|suggestions?|names|titles|topics)))\b",
    ),
    (
        TaskType.BRAINSTORM,
        r"what are (?:some|a few|other|\d+|three|five|ten)\b.*\b"
        r"(?:ways|ideas|tips|things|names|options|activities|gifts)\b",
    ),
    (
        TaskType.BRAINSTORM,
        r"what (?:should|could|can) i (?:cook|make|do|wear|give|buy|write|draw|name|call|read|watch)\b",
    ),
    (TaskType.BRAINSTORM, r"(?:any )?(?:ideas|suggestions|tips) (?:for|on|about)\b"),
    (
        TaskType.GENERATION,
        r"(?:write|compose|create|draft|generate|craft|invent|imagine|"
        r"make up|continue|complete|finish|design|develop|build|implement|prepare|produce)\b",
    ),
    (
        TaskType.GENERATION,
        rf"(?:tell|give)(?: (?:me|us))?{_WITHIN} (?:story|joke|poem|tale|recipe|"
        rf"riddle|limerick|haiku|song|riddle|script)\b",
    ),
)
"""By how a sentence of the request begins."""

_TALK = _rules(
    (
        TaskType.CHAT,
        r"(?:how are you|how(?:'s| is) it going|how do you do|what'?s up|nice to meet you|(?:let's )?(?:chat|talk)\b|"
        r"tell me about yourself|what(?:'s| is) your (?:name|favou?rite)|who are you|"
        r"are you (?:a |an )?(?:human|robot|ai|"
        r"bot|there|real|ok)|do you (?:like|love|feel|think|want|have|remember|know me|believe)\b|"
        r"i(?: am|'m)? (?:feel|feeling|so|very|really|bored|sad|happy|lonely|tired|angry|upset)\b|"
        r"thanks?\b|thank you\b|bye\b|goodbye\b)",
    ),
)
_TEXT = r"(?:text|passage|paragraph|article|context|document|story|information|table|excerpt|facts?|above|following)"
_CLOSED = re.compile(
    rf"(?:according to|based on|given|using|in|from) (?:the |this |these )?"
    rf"(?:(?:following|given|above|provided) )?{_TEXT}\b"
    r"|^(?:context|passage|text|paragraph|article|background)\b ?(?=:|$)"
)
_ASKED = re.compile(
    r"(?:what|what's|who|who's|whose|whom|when|where|where's|why|which|how|is|are|was|were|do|does|did|can|could|will|"
    r"would|"
    r"should|has|have|had|explain|describe|define|compare|calculate|compute|solve|discuss|name|list|state|identify|"
    r"tell (?:me|us)|give (?:me|us)|find|answer|outline|elaborate|show me|teach me)\b"
)
_WONDERS = re.compile(r"\b(?:what|who|whose|whom|when|where|which|why|how)\b")
_GREETING = re.compile(r"(?:hi|hello|hey|good (?:morning|afternoon|evening)|greetings)\b")
_ANSWERED = re.compile(r"^[^\S\n]{0,9}(?:assistant|ai|bot|chatgpt|gpt)\s{0,9}:[^\S\n]*\S", re.IGNORECASE | re.MULTILINE)
"""A turn of the other side that has been said: one that is yet to be said has nothing behind the colon."""
_SPEAKER = re.compile(r"(?:human|user|assistant|ai|bot|chatgpt|gpt|h|a|q) {0,9}: ?", re.IGNORECASE)
_BLANK = re.compile(r"\n[^\S\n]*\n")
_SENTENCE = re.compile(r"[.!?:;]+(?:\s|$)|\n")


def task_type(prompt: str) -> TaskType:
    """The kind of task of a prompt; `OTHER` where no rule says so, as of any prompt that is not English.

    1. A prompt in which an assistant has answered already is `CHAT`.
    2. The first sentence of the first or the last paragraph that begins as a request of some kind decides.
    3. Then, if a sentence begins as small talk does, it is `CHAT`.
    4. A sentence that asks something is `CLOSED_QA` where the prompt brings or names a text, else `OPEN_QA`.
    5. What only greets is `CHAT`.
    """
    if _ANSWERED.search(prompt):
        return TaskType.CHAT
    first, last, rest = _paragraphs(prompt)
    sentences = [*_sentences(first), *_sentences(last)]
    requests = [_POLITE.sub("", sentence, count=1) for sentence in sentences]
    found = _first(_REQUESTS, requests) or _first(_TALK, [*sentences, *requests])
    if found is not None:
        return found
    if any(_ASKED.match(request) or (_CLOSED.match(request) and _WONDERS.search(request)) for request in requests):
        named = any(_CLOSED.search(sentence) for sentence in sentences)
        return TaskType.CLOSED_QA if named or rest >= PASSAGE else TaskType.OPEN_QA
    return TaskType.CHAT if any(map(_GREETING.match, sentences)) else TaskType.OTHER


def task_types(prompts: Iterable[str]) -> list[str]:
    """The kind of task of every prompt."""
    return [str(task_type(prompt)) for prompt in prompts]


def _paragraphs(prompt: str) -> tuple[str, str, int]:
    """The first and the last paragraph as far as they are looked at, and how many characters are left."""
    text = prompt.strip()
    first = _BLANK.split(text[:REACH], maxsplit=1)[0]
    last = _BLANK.split(text[max(len(first), len(text) - REACH) :])[-1]
    return first, last, len(text) - len(first) - len(last)


def _sentences(paragraph: str) -> Iterator[str]:
    """The beginnings of sentences, without who says them."""
    spoken = _SPEAKER.sub("", paragraph.strip(), count=1) if _SPEAKER.match(paragraph.strip()) else paragraph
    for sentence in _SENTENCE.split(spoken):
        words = normalised(sentence).replace("\u2019", "'").strip(" \"'([*#->")
        if words:
            yield words


def _first(rules: _Rules, sentences: Iterable[str]) -> TaskType | None:
    """The kind that the first sentence is of which begins as some rule says; of several rules the first."""
    for sentence in sentences:
        for kind, pattern in rules:
            if pattern.match(sentence):
                return kind
    return None
