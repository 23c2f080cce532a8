// From what was typed to a command of the registry. Understands singular nouns, habits from other tools and options before the noun; answers a
// mistake with what was probably meant, and never guesses where a guess could change something.
import { globalSpellings } from "./globals.ts";
import { UsageError } from "./failure.ts";
import { nearest } from "./nearest.ts";
import type { Registry } from "./tree.ts";
import type { Say } from "./text/say.ts";

export type Resolved =
  | { readonly kind: "command"; readonly path: readonly string[]; readonly args: readonly string[]; readonly note?: string }
  | { readonly kind: "help"; readonly about: readonly string[] }
  | { readonly kind: "version" };

/** What other tools call it, and what it is here. `note` names it and goes on; `hint` only names it, because the habit may mean something else. */
const habits: Readonly<Record<string, { readonly meant: string; readonly goOn: boolean }>> = {
  ps: { meant: "status", goOn: true },
  info: { meant: "status", goOn: true },
  pods: { meant: "instances list", goOn: true },
  containers: { meant: "instances list", goOn: true },
  services: { meant: "components list", goOn: true },
  apps: { meant: "stacks list", goOn: true },
  ls: { meant: "stacks list", goOn: true },
  projects: { meant: "stacks list", goOn: true },
  top: { meant: "components usage", goOn: true },
  stats: { meant: "components usage", goOn: true },
  env: { meant: "config show", goOn: true },
  log: { meant: "logs", goOn: true },
  tail: { meant: "logs -f", goOn: true },
  me: { meant: "whoami", goOn: true },
  signin: { meant: "login", goOn: true },
  jobs: { meant: "tasks list", goOn: true },
  history: { meant: "rollouts list", goOn: true },
  apply: { meant: "up", goOn: true },
  push: { meant: "deploy", goOn: false },
  publish: { meant: "deploy", goOn: false },
  release: { meant: "deploy", goOn: false },
  redeploy: { meant: "deploy", goOn: false },
  shell: { meant: "exec -- sh", goOn: false },
  ssh: { meant: "exec -- sh", goOn: false },
  bash: { meant: "exec -- bash", goOn: false },
  console: { meant: "exec -- sh", goOn: false },
  sh: { meant: "exec -- sh", goOn: false },
  attach: { meant: "logs -f", goOn: false },
  down: { meant: "stacks delete", goOn: false },
  destroy: { meant: "stacks delete", goOn: false },
  undo: { meant: "rollback", goOn: false },
  promote: { meant: "deploy", goOn: false },
  create: { meant: "up", goOn: false },
  init: { meant: "up", goOn: false },
  launch: { meant: "up", goOn: false },
  compose: { meant: "up", goOn: false },
  serve: { meant: "server", goOn: false },
  daemon: { meant: "server start", goOn: false },
  domains: { meant: "status", goOn: false },
  images: { meant: "builds list", goOn: false },
  build: { meant: "deploy", goOn: false },
  explain: { meant: "plan", goOn: false },
  detect: { meant: "plan", goOn: false },
};
/** Verbs as others say them. Reading ones are understood; changing ones are only named. */
const synonyms: Readonly<Record<string, { readonly meant: readonly string[]; readonly goOn: boolean }>> = {
  ls: { meant: ["list"], goOn: true },
  get: { meant: ["show", "list"], goOn: true },
  describe: { meant: ["show"], goOn: true },
  info: { meant: ["show"], goOn: true },
  inspect: { meant: ["show"], goOn: true },
  view: { meant: ["show"], goOn: true },
  log: { meant: ["logs"], goOn: true },
  rm: { meant: ["delete", "unset"], goOn: false },
  remove: { meant: ["delete", "unset"], goOn: false },
  destroy: { meant: ["delete"], goOn: false },
  revoke: { meant: ["delete"], goOn: false },
  unset: { meant: ["delete"], goOn: false },
  del: { meant: ["delete", "unset"], goOn: false },
  add: { meant: ["create", "set", "add"], goOn: false },
  new: { meant: ["create"], goOn: false },
  edit: { meant: ["set"], goOn: false },
  update: { meant: ["set"], goOn: false },
  cancel: { meant: ["abort"], goOn: false },
  undo: { meant: ["rollback"], goOn: false },
};

export function resolve(argv: readonly string[], registry: Registry, say: Say): Resolved {
  const { moved, left } = leadingOptions(argv);
  const [first = "", ...after] = left;
  if (first === "" || first === "-h" || first === "--help") return { kind: "help", about: [] };
  if (first === "-V" || first === "--version" || first === "-v") return { kind: "version" };
  if (first === "help") return { kind: "help", about: after.filter((word) => !word.startsWith("-")).flatMap((word) => word.split(":")) };
  if (first.startsWith("-")) throw new UsageError(say("unknown_command", { given: first }), say("see_all"));
  // Heroku's `config:set`.
  if (/^[a-z-]+:[a-z-]+$/.test(first)) return noted(resolve([...moved, ...first.split(":"), ...after], registry, say), first, say);
  const noun = nounOf(first, registry);
  if (noun !== undefined && (noun === first || !registry.daily.has(first))) {
    const resolved = verbOf(noun, [...moved, ...after], registry, say);
    return noun === first ? resolved : noted(resolved, first, say);
  }
  if (registry.daily.has(first)) return { kind: "command", path: [first], args: [...moved, ...after] };
  return habitOf(first, after, moved, registry, say);
}

function verbOf(noun: string, words: readonly string[], registry: Registry, say: Say): Resolved {
  const { moved, left } = leadingOptions(words);
  const verbs = registry.verbs(noun);
  const [word, ...after] = left;
  if (word === "-h" || word === "--help" || word === "help") return { kind: "help", about: [noun] };
  if (word !== undefined && verbs.includes(word)) return { kind: "command", path: [noun, word], args: [...moved, ...after] };
  const standard = verbs.find((verb) => verb === "list") ?? verbs.find((verb) => verb === "show");
  const daily = registry.daily.has(noun) ? [noun] : standard === undefined ? undefined : [noun, standard];
  // `berth stacks` lists them; `berth events -f` and `berth server` are daily verbs.
  if (daily !== undefined && (word === undefined || word.startsWith("-")))
    return { kind: "command", path: daily, args: [...moved, ...left] };
  if (word === undefined) return { kind: "help", about: [noun] };
  const synonym = synonyms[word];
  const meant = synonym?.meant.find((verb) => verbs.includes(verb));
  if (synonym?.goOn === true && meant !== undefined)
    return noted({ kind: "command", path: [noun, meant], args: [...moved, ...after] }, `${noun} ${word}`, say);
  const near = meant ?? nearest(word, verbs);
  throw new UsageError(
    say("unknown_verb", { noun, given: word }),
    near === undefined ? say("verbs_are", { verbs: verbs.join(", ") }) : say("did_you_mean", { what: `berth ${noun} ${near}` }),
  );
}

function habitOf(first: string, after: readonly string[], moved: readonly string[], registry: Registry, say: Say): Resolved {
  const habit = habits[first];
  if (habit?.goOn === true) return noted(resolve([...habit.meant.split(" "), ...moved, ...after], registry, say), first, say, habit.meant);
  const swapped = swappedNoun(first, after, registry);
  const near = habit?.meant ?? swapped ?? nearest(first, [...registry.daily.keys(), ...registry.nouns]);
  throw new UsageError(
    say("unknown_command", { given: first }),
    near === undefined ? say("see_all") : say("did_you_mean", { what: `berth ${near}` }),
  );
}

/** `get pods`, `list stacks`, `delete stack shop`. */
function swappedNoun(verb: string, after: readonly string[], registry: Registry): string | undefined {
  const word = after.find((candidate) => !candidate.startsWith("-"));
  if (word === undefined) return undefined;
  const noun = nounOf(word, registry);
  if (noun === undefined) return habits[word]?.meant;
  const verbs = registry.verbs(noun);
  const found = verbs.find((candidate) => candidate === verb) ?? synonyms[verb]?.meant.find((candidate) => verbs.includes(candidate));
  return found === undefined ? undefined : `${noun} ${found}`;
}

/** The noun itself, or its plural. */
function nounOf(word: string, registry: Registry): string | undefined {
  return registry.nouns.find((noun) => noun === word) ?? registry.nouns.find((noun) => noun === `${word}s`);
}

function noted(resolved: Resolved, given: string, say: Say, meant?: string): Resolved {
  if (resolved.kind !== "command") return resolved;
  return { ...resolved, note: say("understood_as", { given, meant: meant ?? resolved.path.join(" ") }) };
}

/** Options of the program before the first word: they are moved behind the command. */
function leadingOptions(argv: readonly string[]): { readonly moved: readonly string[]; readonly left: readonly string[] } {
  let at = 0;
  while (at < argv.length) {
    const word = argv[at] ?? "";
    const takesValue = globalSpellings.get(word.split("=")[0] ?? "");
    if (takesValue === undefined) break;
    at += takesValue && !word.includes("=") ? 2 : 1;
  }
  return { moved: argv.slice(0, at), left: argv.slice(at) };
}
