// Provokes a failure through `berth up`, and holds what the terminal, `berth status` and the API say of it against each other (promise 6): one sentence,
// the same everywhere, with evidence and a next step, and exit code 4.
import { expect } from "vitest";
import { renderCause, type Cause, type CauseCode } from "@berth/contract/causes.ts";
import type { Component } from "@berth/contract/resources/components.ts";
import type { Files, TestBerth } from "../harness.ts";
import { berthCommand, projectFolder, type Ran } from "./cli.ts";

export interface Provocation {
  readonly code: CauseCode;
  /** Ends the sentence "a program that ..." or "a build that ...". */
  readonly what: string;
  readonly files: Files;
  /** The component that fails by itself; `web` unless named. */
  readonly component?: string;
  /** What the sentence has to name. */
  readonly says: RegExp;
  /** Patterns of lines beneath the sentence, each of which has to be there. */
  readonly proof: readonly RegExp[];
  readonly next: RegExp;
  /** ms from the end of its build until it is told, on a machine that does much else. Far below the two minutes of the progress deadline. */
  readonly within?: number;
}

/** What is certain within seconds must never wait for a deadline. */
const soon = 60_000;

/** A project whose `web` is a Node.js program without dependencies. */
export const program = (code: string, service?: Readonly<Record<string, unknown>>, more: Files = {}): Files => ({
  "package.json": JSON.stringify({ name: "web", scripts: { start: "node server.js" } }),
  "server.js": code,
  ...(service === undefined ? {} : { "compose.yaml": JSON.stringify({ services: { web: { build: ".", ...service } } }) }),
  ...more,
});

export interface Told {
  readonly ran: Ran;
  readonly cause: Cause;
}

/** Deploys it as a user would; answers with what was told after everything was compared. */
export async function provoke(berth: TestBerth, stack: string, wanted: Provocation): Promise<Told> {
  const folder = projectFolder(berth, wanted.files);
  const component = wanted.component ?? "web";
  const ran = await berthCommand(berth, ["up", "-s", stack, folder]);
  expect(ran, ran.err).toMatchObject({ code: 4, out: "" });
  const { items } = await berth.client.listRollouts({ params: { stack, component }, query: {} });
  const rollout = items[0];
  expect(rollout?.phase).toBe("failed");
  const cause = rollout?.cause;
  if (rollout === undefined || cause === undefined) throw new Error("it failed without a cause");
  expect(cause.code, ran.err).toBe(wanted.code);
  const { sentence, next } = renderCause(cause);
  told(cause);
  expect(sentence).toMatch(wanted.says);
  expect(next).toMatch(wanted.next);
  // How long tools take to build, or to fail at it, is the machine's matter.
  const build = await berth.client.showBuild({ params: { stack, build: rollout.build ?? 0 } });
  expect(Date.parse(rollout.endedAt ?? "") - Date.parse(build.endedAt ?? "")).toBeLessThan(wanted.within ?? soon);

  // The terminal: sentence, then evidence, then the next step, and nothing of it twice.
  const end = ran.err.slice(ran.err.indexOf("\nError: ") + 1);
  expect(end.split(sentence)).toHaveLength(2);
  expect(end.indexOf("Next:"), end).toBeGreaterThan(end.indexOf(sentence));
  expect(end).toContain(`Next: ${next}`);
  const between = end.slice(end.indexOf(sentence) + sentence.length, end.indexOf(`Next: ${next}`));
  for (const proof of wanted.proof) expect(between).toMatch(proof);
  const lines = between.split("\n").filter((line) => line.trim() !== "");
  expect(lines.length).toBeLessThanOrEqual(24);
  for (const line of lines) expect(line).toMatch(/^ +[|-]/);

  // And everywhere else.
  const [status, json] = await Promise.all([
    berthCommand(berth, ["status", "-s", stack]),
    berthCommand(berth, ["status", "-s", stack, "--json"]),
  ]);
  expect(status.code).toBe(0);
  for (const text of [sentence, `Next: ${next}`]) expect(status.out).toContain(text);
  const shown = (JSON.parse(json.out) as { items: Component[] }).items.find((one) => one.name === component);
  expect(shown).toMatchObject({ state: "failed", rollout: { phase: "failed" }, cause: { code: cause.code, params: cause.params } });
  expect((await berth.client.showComponent({ params: { stack, component } })).cause).toEqual(shown?.cause);
  return { ran, cause };
}

/** One sentence and a next step, with every hole filled. */
export function told(cause: Cause): void {
  const { sentence, next } = renderCause(cause);
  expect(sentence).not.toBe(cause.code);
  expect(`${sentence} ${next}`).not.toMatch(/\{\w+\}|NaN|\[object|\.\.$/);
  expect(sentence.length).toBeGreaterThan(20);
  expect(sentence).toMatch(/^[\p{Lu}`\w@/]/u);
  expect(next).toMatch(/[.`]$/);
}
