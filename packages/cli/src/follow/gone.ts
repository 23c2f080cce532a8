// Waiting until something that is being removed is gone. Events are hints; asking for it is the truth.
import { ApiError } from "@berth/contract/client-errors.ts";
import type { Context } from "../context.ts";
import { hints } from "./hints.ts";

/** Resolves when `show` answers not_found. */
export async function untilGone(ctx: Context, topic: string, show: () => Promise<unknown>): Promise<void> {
  const { next, stop } = hints(ctx, await ctx.api(), topic);
  try {
    for (;;) {
      try {
        await show();
      } catch (error) {
        if (error instanceof ApiError && error.code === "not_found") return;
        throw error;
      }
      await next();
    }
  } finally {
    await stop();
  }
}
