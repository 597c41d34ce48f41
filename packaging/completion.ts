/** Shell completion of a command, from its declaration. Each file stands alone: shells load it when the command is first completed. */
import { type CommandHelp, type Completion, type OptionHelp, shownOption } from "../lib/daemon/help.ts";

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** Names of queue files, from the queue listing. */
const QUEUE_IDS = 'postqueue -j 2>/dev/null | sed -n \'s/.*"queue_id": "\\([^"]*\\)".*/\\1/p\'';
const PARAMETERS = "postconf -H 2>/dev/null";
const TABLE_TYPES = "postconf -m 2>/dev/null | sed 's/$/:/'";

/** The command that prints what is offered. */
function bashWords(completion: Completion): string {
  switch (completion) {
    case "directory":
      return 'compgen -d -- "$cur"';
    case "file":
      return 'compgen -f -- "$cur"';
    case "queue-id":
      return `compgen -W "$(${QUEUE_IDS})" -- "$cur"`;
    case "queue-ids":
      return `compgen -W "ALL - $(${QUEUE_IDS})" -- "$cur"`;
    case "parameter":
      return `compgen -W "$(${PARAMETERS})" -- "$cur"`;
    case "table":
      return `{ compgen -W "$(${TABLE_TYPES})" -- "$cur"; compgen -f -- "$cur"; }`;
    case "program":
      return 'compgen -c -- "$cur"';
    default:
      return `compgen -W ${quote(completion.join(" "))} -- "$cur"`;
  }
}

/** Options whose argument is a word of its own. */
const argumentOptions = (help: CommandHelp): ReadonlyArray<OptionHelp> =>
  help.options.filter(([option]) => option.includes(" "));

/** The options as words: what precedes an argument. */
const optionWords = (help: CommandHelp): string[] => [
  ...new Set(["--help", ...help.options.map(([option]) => option.split(/[ |]/, 1)[0] ?? option)]),
];

export function bashCompletion(help: CommandHelp): string {
  const { name } = help;
  const byLetter = argumentOptions(help)
    .map(([option, , completion]) => {
      const words = completion === undefined ? ":" : `mapfile -t COMPREPLY < <(${bashWords(completion)})`;
      const letter = option.charAt(1);
      return `        -${letter} | -[!-]*${letter}) ${words}; return ;;`;
    })
    .join("\n");
  const operands =
    help.commands === undefined
      ? help.operands === undefined
        ? ":"
        : `mapfile -t COMPREPLY < <(${bashWords(help.operands)})`
      : `mapfile -t COMPREPLY < <(${bashWords(help.commands.map(([command]) => command))})`;
  return `# bash completion for ${name}(${help.section}) of Posthaste; made by packaging/man.ts
_posthaste_${name}() {
    local cur=\${COMP_WORDS[COMP_CWORD]} prev=
    ((COMP_CWORD > 1)) && prev=\${COMP_WORDS[COMP_CWORD - 1]}
    # a colon or an equal sign is a word of its own to readline
    [[ $cur == : || $cur == = ]] && cur=
    COMPREPLY=()
    case $prev in
${byLetter}
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W ${quote(optionWords(help).join(" "))} -- "$cur")
        return
    fi
    ${operands}
    [[ \${#COMPREPLY[@]} == 1 && \${COMPREPLY[0]} == *[:=] ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o filenames -F _posthaste_${name} ${name}
`;
}

/** Functions that a completion file defines for its own use; in an action a colon would be a mark. */
const ZSH_HELPERS: Readonly<Record<string, string>> = {
  _posthaste_queue_id: `compadd \${(f)"$(${QUEUE_IDS})"}`,
  _posthaste_queue_ids: `compadd ALL - \${(f)"$(${QUEUE_IDS})"}`,
  _posthaste_parameters: `compadd \${(f)"$(${PARAMETERS})"}`,
  _posthaste_tables: `compset -P '*:' || compadd -S '' \${(f)"$(${TABLE_TYPES})"}
    _files`,
};

function zshAction(completion: Completion | undefined): string {
  switch (completion) {
    case undefined:
      return "";
    case "directory":
      return "_directories";
    case "file":
      return "_files";
    case "queue-id":
      return "_posthaste_queue_id";
    case "queue-ids":
      return "_posthaste_queue_ids";
    case "parameter":
      return "_posthaste_parameters";
    case "table":
      return "_posthaste_tables";
    case "program":
      return "_command_names -e";
    default:
      return `(${completion.map((word) => word.replace(/[()\s\\:]/g, "\\$&")).join(" ")})`;
  }
}

/** In a specification of _arguments, brackets and colons are marks. */
const escapeSpec = (text: string): string => text.replace(/[[\]:\\]/g, "\\$&");

function zshOption([option, text, completion]: OptionHelp): string {
  const shown = shownOption(option);
  const [word = "", argument] = option.split(/[ |]/, 2);
  const help = `[${escapeSpec(text)}]`;
  if (argument === undefined) return `*${shown}${help}`;
  const sign = option.includes(" ") ? "+" : "-";
  return `*${word}${sign}${help}:${escapeSpec(argument)}:${zshAction(completion)}`;
}

export function zshCompletion(help: CommandHelp): string {
  const specs = help.options.map(zshOption);
  // one-letter options may share a word, unless there are words like -bp
  const stacks = help.options.every(([option]) => option.length === 2 || option.charAt(2) === " ");
  specs.unshift("(- *)--help[show the options and end]");
  if (help.commands !== undefined) {
    const commands = help.commands.map(([name, text]) => `${name}\\:${quoteDescription(text)}`).join(" ");
    specs.push(`1:command:((${commands}))`, "*:argument:_files");
  } else if (help.operands !== undefined) specs.push(`*:operand:${zshAction(help.operands)}`);
  const helpers = Object.entries(ZSH_HELPERS)
    .filter(([name]) => specs.some((spec) => spec.endsWith(`:${name}`)))
    .map(([name, body]) => `${name}() {\n    ${body}\n}\n`)
    .join("");
  return `#compdef ${help.name}
# zsh completion for ${help.name}(${help.section}) of Posthaste; made by packaging/man.ts
${helpers}_arguments ${stacks ? "-s " : ""}-S \\
${specs.map((spec) => `    ${quote(spec)}`).join(" \\\n")}
`;
}

const quoteDescription = (text: string): string => `"${text.replace(/["\\$`]/g, "")}"`;
