// How the verbs that show or change one object print it.
import type { Context } from "../context.ts";
import { facts } from "../output/table.ts";

/** The API's object with --json, else `name: value` lines. */
export function showObject(ctx: Context, object: unknown, pairs: readonly (readonly [string, string | undefined])[]): void {
  if (ctx.out.json) ctx.out.object(object);
  else ctx.out.lines(facts(pairs, ctx.out.paint.dim));
}

/** What was done, in one line; with --json the API's answer. */
export function done(ctx: Context, answer: unknown, sentence: string): void {
  if (ctx.out.json) ctx.out.object(answer);
  else if (!ctx.out.quiet) ctx.out.line(sentence);
}

/** A command as a person would type it. */
export function commandText(command: { readonly exec: readonly string[] } | { readonly shell: string }): string {
  return "shell" in command
    ? command.shell
    : command.exec.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`)).join(" ");
}
