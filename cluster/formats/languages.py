"""Return the programming language of a file of source code by the suffix of the file's name.

language_of("src/main.rs")      # "Rust"
language_of("notes.txt")        # ""
"""

from collections.abc import Mapping

#: For each programming or configuration language, the suffixes of its files. The suffixes c, cpp, cs, css,
#: go, java, js, php, py, rb, sh and ts are those that OpenAI's file search supports.
LANGUAGES: Mapping[str, str] = {
    "Ada": "ada adb ads",
    "Assembly": "asm s",
    "Batch": "bat cmd",
    "C": "c h",
    "C#": "cs csx",
    "C++": "cc cpp cxx c++ hh hpp hxx",
    "CMake": "cmake",
    "COBOL": "cob cbl",
    "CSS": "css scss sass less",
    "Clojure": "clj cljs cljc edn",
    "D": "d",
    "Dart": "dart",
    "Elixir": "ex exs",
    "Elm": "elm",
    "Erlang": "erl hrl",
    "F#": "fs fsi fsx",
    "Fortran": "f f90 f95 for",
    "Go": "go",
    "GraphQL": "graphql gql",
    "Groovy": "groovy gradle",
    "HCL": "tf tfvars hcl",
    "Haskell": "hs",
    "INI": "ini cfg conf cnf properties env editorconfig desktop service",
    "Java": "java",
    "JavaScript": "js jsx mjs cjs",
    "Julia": "jl",
    "Kotlin": "kt kts",
    "Lisp": "lisp lsp el scm rkt",
    "Lua": "lua",
    "Makefile": "mk mak",
    "Nix": "nix",
    "OCaml": "ml mli",
    "Objective-C": "m mm",
    "PHP": "php phtml",
    "Pascal": "pas pp dpr",
    "Perl": "pl pm",
    "PowerShell": "ps1 psm1 psd1",
    "Prolog": "pro",
    "Protocol Buffers": "proto",
    "Python": "py pyi pyw",
    "R": "r",
    "Ruby": "rb rake gemspec",
    "Rust": "rs",
    "SQL": "sql ddl",
    "Scala": "scala sc",
    "Shell": "sh bash zsh fish ksh",
    "Solidity": "sol",
    "Svelte": "svelte",
    "Swift": "swift",
    "TOML": "toml",
    "Tcl": "tcl",
    "TypeScript": "ts tsx mts cts",
    "VHDL": "vhd vhdl",
    "Verilog": "v sv svh",
    "Visual Basic": "vb vbs bas",
    "Vue": "vue",
    "YAML": "yaml yml",
    "Zig": "zig",
}
#: The language of each suffix in ``LANGUAGES``.
LANGUAGE_BY_SUFFIX = {suffix: name for name, suffixes in LANGUAGES.items() for suffix in suffixes.split()}


def language_of(name: str) -> str:
    """Return the language of the file with this name; "" if the suffix belongs to no language."""
    return LANGUAGE_BY_SUFFIX.get(name.rpartition(".")[2].lower(), "")
