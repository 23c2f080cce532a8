// What Berth adds to a Dockerfile for Docker's own builder. That has one cache for all, in which a step is found by what it says and by what it stands upon: a stranger's build would get what the same
// lines had made for somebody else. A label at the beginning of every stage, which is the stack's own, is a part of all that stands upon it: so each stack has a cache to itself, and what is nobody's
// any more is found by that label. What an image says of itself is one instruction at its end: the daemon would make one of each label, and an image of each instruction.
import { stagesOf } from "../../core/buildplan/instructions.ts";
import type { DockerApi } from "../../docker/api.ts";
import type { Script, ScriptInstruction } from "./instructions.ts";

const cacheLabel = "berth.cache";

export interface Additions {
  readonly stackId: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The stage that is built, by its name or number; the last one when absent. */
  readonly target?: string | undefined;
}

/** The same file with the additions. Its instructions keep the lines that they have in the file that people know. */
export function withAdditions(script: Script, { stackId, labels, target }: Additions): Script {
  const stages = stagesOf(script.instructions);
  const named = stages.findIndex(({ name }) => name === target?.toLowerCase());
  const wanted = target === undefined ? stages.length - 1 : named === -1 ? Number(target) : named;
  const lines = script.text.split("\n");
  const text: string[] = [];
  const instructions: ScriptInstruction[] = [];
  let next = 0;
  let stage = -1;
  for (const [index, one] of script.instructions.entries()) {
    const following = script.instructions[index + 1];
    // An instruction goes on until the next one begins, or some comment before it.
    const end = (following?.line ?? lines.length + 1) - 1;
    text.push(...lines.slice(next, end));
    next = end;
    instructions.push(one);
    const add = (rest: string): void => {
      text.push(`LABEL ${rest}`);
      instructions.push({ keyword: "LABEL", rest, line: one.line, heredoc: false, hidden: true });
    };
    if (one.keyword === "FROM") {
      stage += 1;
      add(`${cacheLabel}=${stackId}`);
    }
    if (stage === wanted && (following === undefined || following.keyword === "FROM")) add(written(labels));
  }
  return { ...script, text: [...text, ...lines.slice(next)].join("\n"), instructions };
}

/** Between single quotes nothing is expanded; what could end them, or begin an escape, is written as URLs write it. */
function written(labels: Readonly<Record<string, string>>): string {
  const safe = (value: string): string =>
    value.replaceAll(/['\\`\u0000-\u001f\u007f]/g, (sign) => `%${sign.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return Object.entries(labels)
    .map(([name, value]) => `${name}='${safe(value)}'`)
    .join(" ");
}

/** What the daemon says of the file, with the lines that people know. */
export function withKnownLines(said: string, { instructions }: Script): string {
  // Each stands before the first instruction after it that is the file's own.
  const marks = instructions.flatMap((one, index) =>
    one.hidden === true ? [instructions.slice(index).find(({ hidden }) => hidden !== true)?.line ?? Infinity] : [],
  );
  return said.replaceAll(/\bline (\d+)\b/g, (_, number: string) => {
    const line = Number(number);
    return `line ${String(line - marks.filter((from, before) => from + before < line).length)}`;
  });
}

/** Removes what is kept for the stack and is in no image that has a name. Errors: DockerError. */
export async function forgetCache(api: DockerApi, stackId: string, signal: AbortSignal): Promise<void> {
  const filters = JSON.stringify({ dangling: ["true"], label: [`${cacheLabel}=${stackId}`] });
  await api.json("POST", "/images/prune", { query: { filters }, signal, timeout: Infinity });
}
