// Which paths of a folder are left out. .gitignore files of every level count as git reads them; .berthignore files win over them;
// `.git` and `node_modules` are left out always.
import ignore, { type Ignore } from "ignore";
import { join, relative, sep } from "node:path";
import { textOf } from "../project.ts";
import { workTreeTop } from "./git.ts";

const never = new Set([".git", "node_modules"]);

interface RuleFile {
  readonly folder: string;
  readonly rules: Ignore;
}
export type Verdict = "taken" | "left out" | "ignored by git";

/** The rules that hold in one folder. Making those of a subfolder changes nothing here. */
export class Rules {
  readonly #git: readonly RuleFile[];
  readonly #own: readonly RuleFile[];

  private constructor(git: readonly RuleFile[], own: readonly RuleFile[]) {
    this.#git = git;
    this.#own = own;
  }

  /** Of a folder and of everything above it in the same git work tree. A folder that is ignored itself, but asked for, is taken without the rules above it. */
  static async of(folder: string): Promise<Rules> {
    const top = (await workTreeTop(folder)) ?? folder;
    let rules = new Rules([], []);
    const steps = relative(top, folder)
      .split(sep)
      .filter((step) => step !== "");
    const exclude = await ruleFile(top, join(".git", "info", "exclude"));
    if (exclude !== undefined) rules = new Rules([exclude], []);
    let at = top;
    for (const step of steps) {
      rules = await rules.in(at);
      at = join(at, step);
      if (rules.verdict(at, true) !== "taken") rules = new Rules([], []);
    }
    return rules.in(folder);
  }

  /** With the rule files of this folder; `afresh` when the folder was ignored by git and .berthignore took it back: what ignored it has no more say inside. */
  async in(folder: string, afresh = false): Promise<Rules> {
    const [git, own] = await Promise.all([ruleFile(folder, ".gitignore"), ruleFile(folder, ".berthignore")]);
    if (git === undefined && own === undefined && !afresh) return this;
    return new Rules(
      [...(afresh ? [] : this.#git), ...(git === undefined ? [] : [git])],
      [...this.#own, ...(own === undefined ? [] : [own])],
    );
  }

  verdict(path: string, directory: boolean): Verdict {
    const name = path.slice(path.lastIndexOf(sep) + 1);
    if (never.has(name)) return "left out";
    const own = decide(this.#own, path, directory);
    if (own !== undefined) return own ? "left out" : "taken";
    return decide(this.#git, path, directory) === true ? "ignored by git" : "taken";
  }

  /** Whether .berthignore takes back what .gitignore leaves out. */
  takenBack(path: string, directory: boolean): boolean {
    return decide(this.#own, path, directory) === false && decide(this.#git, path, directory) === true;
  }
}

/** The word of the nearest file that says something; undefined = none does. */
function decide(files: readonly RuleFile[], path: string, directory: boolean): boolean | undefined {
  for (const { folder, rules } of files.toReversed()) {
    const result = rules.test(relative(folder, path).split(sep).join("/") + (directory ? "/" : ""));
    if (result.ignored) return true;
    if (result.unignored) return false;
  }
  return undefined;
}

async function ruleFile(folder: string, name: string): Promise<RuleFile | undefined> {
  const text = await textOf(join(folder, name));
  return text === undefined ? undefined : { folder, rules: ignore({ ignorecase: false }).add(text) };
}
