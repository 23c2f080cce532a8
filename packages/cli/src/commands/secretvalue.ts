// A secret from the person or the pipe: never from the command line, where the process list would show it.
import type { Context } from "../context.ts";
import { UsageError } from "../failure.ts";

export async function secretValue(ctx: Context, question: string): Promise<string> {
  const value = ctx.prompt.possible ? await ctx.prompt.askSecret(question, ctx.signal) : await ctx.prompt.readAll();
  if (value === "") throw new UsageError("There was no value to set.", "Type it, or pipe it in.");
  return value;
}
