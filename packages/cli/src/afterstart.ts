// After `berth server start`: signs this user in, the first time, so that `berth up` works at once. Only where the user may read the server's own files.
import { ApiError } from "@berth/contract/client-errors.ts";
import type { Context } from "./context.ts";
import { readCredentials } from "./credentials.ts";
import { localServer, oneTimeToken } from "./localserver.ts";
import { signIn } from "./signin.ts";

export async function signInAfterStart(ctx: Context): Promise<void> {
  const own = await localServer();
  if (own?.running !== true || own.url === undefined || ctx.surroundings.token !== undefined) return;
  const at = ctx.withServer(own.url);
  const known = (await readCredentials(ctx.surroundings.configDir)).servers[own.url];
  if (known !== undefined && (await opens(at, known.token))) return;
  const token = await oneTimeToken();
  if (token === undefined) return ctx.out.note("`berth login` signs you in.");
  const user = await signIn(at, token);
  ctx.out.progress(`You are signed in as ${user}. Next: \`berth up\` in a folder with code.`);
}

async function opens(ctx: Context, token: string): Promise<boolean> {
  try {
    await (await ctx.clientWith(token)).showMe({}, { signal: ctx.signal });
    return true;
  } catch (error) {
    // A server that was made anew does not know the token of its predecessor.
    if (error instanceof ApiError && error.status === 401) return false;
    throw error;
  }
}
