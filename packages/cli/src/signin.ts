// Signing in: trades a one-time token for one of our own, or checks a given API token, and remembers it for the server.
import { hostname, userInfo } from "node:os";
import { ApiError } from "@berth/contract/client-errors.ts";
import type { Context } from "./context.ts";
import { isLocal, saveCredential } from "./credentials.ts";
import { Failure, exitCodes } from "./failure.ts";
import { localServer, oneTimeToken } from "./localserver.ts";

export async function login(ctx: Context, ask: boolean): Promise<number> {
  const { serverUrl } = ctx.settings;
  const given = ctx.settings.tokenGiven ? ctx.settings.token : undefined;
  const token = given ?? (ask ? undefined : await ownToken(ctx)) ?? (await typedToken(ctx));
  const user = await signIn(ctx, token);
  ctx.out.line(`Signed in to ${serverUrl} as ${user}.`);
  return exitCodes.done;
}

/** Remembers what the token opens; answers who that is. */
export async function signIn(ctx: Context, token: string): Promise<string> {
  const found = (await asApiToken(ctx, token)) ?? (await tradeIn(ctx, token));
  await saveCredential(ctx.surroundings.configDir, ctx.settings.serverUrl, { ...found, savedAt: ctx.now().toISOString() });
  return found.user;
}

async function asApiToken(ctx: Context, token: string): Promise<{ token: string; user: string } | undefined> {
  try {
    const me = await (await ctx.clientWith(token)).showMe({}, { signal: ctx.signal });
    return { token, user: me.user.name };
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return undefined;
    throw error;
  }
}

async function tradeIn(ctx: Context, token: string): Promise<{ token: string; user: string }> {
  return (await ctx.clientWith(undefined)).login(
    { body: { token, name: `${userName()}@${hostname()}`.slice(0, 100) } },
    { signal: ctx.signal },
  );
}

/** A new one-time token when the server is this machine's and this user may make one. */
async function ownToken(ctx: Context): Promise<string | undefined> {
  if (!isLocal(ctx.settings.serverUrl)) return undefined;
  const own = await localServer();
  return own?.url === ctx.settings.serverUrl ? oneTimeToken() : undefined;
}

async function typedToken(ctx: Context): Promise<string> {
  const text = ctx.prompt.possible
    ? await ctx.prompt.askSecret(`Token for ${ctx.settings.serverUrl}: `, ctx.signal)
    : await ctx.prompt.readAll();
  if (text.trim() === "")
    throw new Failure(exitCodes.usage, "There was no token.", { next: "`berth server token` on the server's machine prints one." });
  return text.trim();
}

/** A user without an entry in the system's list (a container's, often) goes by number. */
function userName(): string {
  try {
    return userInfo().username;
  } catch (error) {
    if ((error as { code?: unknown }).code === "ERR_SYSTEM_ERROR") return `uid${process.getuid?.() ?? ""}`;
    throw error;
  }
}
