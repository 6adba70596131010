"""The prefix of a model's C names, by which several models share one program."""

from __future__ import annotations

import re
import unicodedata
import zlib

from fedtiny.errors import FedTinyError

MAX_PREFIX = 32
"""Characters: with the longest suffix a name stays below the 63 that C99 tells apart."""

_SHAPE = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")

_KEYWORDS = """
    alignas alignof and and_eq asm atomic_cancel atomic_commit atomic_noexcept auto bitand bitor
    bool break case catch char char8_t char16_t char32_t class co_await co_return co_yield compl
    concept const const_cast consteval constexpr constinit continue decltype default delete do
    double dynamic_cast else enum explicit export extern false float for friend goto if inline int
    long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected
    public reflexpr register reinterpret_cast requires restrict return short signed sizeof static
    static_assert static_cast struct switch synchronized template this thread_local throw true try
    typedef typeid typename typeof typeof_unqual union unsigned using virtual void volatile wchar_t
    while xor xor_eq
"""
"""Of C up to C23 and C++ up to C++23."""

_HEADERS = """
    aio arduino arm_math arm_nnfunctions assert board complex cpio ctype dirent dlfcn errno fcntl
    fenv float fmtmsg fnmatch ftw glob grp iconv inttypes iso646 langinfo libgen limits locale main
    malloc math memory model model_weights monetary mqueue ndbm netdb nl_types poll pthread pwd
    regex sched search semaphore setjmp signal spawn stdalign stdarg stdatomic stdbit stdbool
    stdckdint stddef stdint stdio stdlib stdnoreturn string strings stropts syslog tar tgmath
    threads time trace uchar ulimit unistd utime utmpx wchar wctype wordexp wprogram
"""
"""``<prefix>.h`` would hide a header of C, POSIX, Arduino, CMSIS, or the project's own."""


class PrefixError(FedTinyError):
    """A prefix that C names cannot begin with."""


def check_prefix(text: str) -> str:
    """``text`` itself, if a model's C names can begin with it.

    Args:
        text: a C identifier of 1..32 letters, digits and single underscores between them; no
            keyword of C or C++, no name of a standard header, not ``fedtiny…``, the kernels' own.
            ``"model"`` is the library's default: the generic names are then the model's own.

    Raises:
        PrefixError: it is none; the message says why.

    >>> check_prefix("gesture_v2")
    'gesture_v2'
    """
    problem = _problem(text)
    if problem and text != "model":
        raise PrefixError(f"the prefix {text!a} {problem}")
    return text


def _problem(text: str) -> str:
    if len(text) > MAX_PREFIX:
        return f"has {len(text)} characters: write at most {MAX_PREFIX}"
    if not _SHAPE.fullmatch(text):
        return (
            "does not begin a C name: write ASCII letters, digits and single underscores between "
            "them, a letter first"
        )
    if text in _KEYWORDS.split():
        return f"is a keyword of C or C++: write, say, {text}_model"
    if text.lower() in _HEADERS.split():
        return f"would hide the header {text}.h: write, say, {text}_model"
    if text.lower().startswith("fedtiny"):
        return "belongs to FedTiny's own kernels: write another"
    return ""


def prefix_of(name: str) -> str:
    """The prefix of a run's name: what it has of ASCII letters and digits, made to fit.

    Names that are cut or have none of them get the CRC-32 of the whole name, so that two differ.

    >>> prefix_of("smart watch, 5 %"), prefix_of("time"), prefix_of("5 %")
    ('smart_watch_5', 'time_model', 'run_5')
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = "_".join(re.findall(r"[A-Za-z0-9]+", plain))
    if not words:
        return f"run_{_crc(name)}"
    if words[0].isdigit() or words.lower().startswith("fedtiny"):
        words = f"run_{words}"
    if len(words) > MAX_PREFIX:
        words = f"{words[: MAX_PREFIX - 9].rstrip('_')}_{_crc(name)}"
    return f"{words}_model" if _problem(words) else words


def _crc(name: str) -> str:
    return f"{zlib.crc32(name.encode()):08x}"
