// Where a plain request is sent when its domain is for HTTPS only. Never to an address that no certificate covers: nobody could be served there.
import type { ClientRequest } from "./client.ts";
import type { HostTable } from "../hosts.ts";
import type { RouterContext } from "./context.ts";

/** The address over HTTPS; undefined: it is served as it came. A trusted proxy that was asked over HTTPS has no need of one. */
export function redirect(
  ctx: Pick<RouterContext, "certificates" | "securePort">,
  req: Pick<ClientRequest, "headers">,
  redirects: HostTable<boolean>,
  { host, path }: { readonly host: string; readonly path: string },
  trusted: boolean,
): string | undefined {
  if (ctx.securePort === 0 || redirects.find(host, path) !== true || !ctx.certificates.covers(host)) return undefined;
  if (trusted && req.headers["x-forwarded-proto"] === "https") return undefined;
  return `https://${host}${ctx.securePort === 443 ? "" : `:${String(ctx.securePort)}`}${path}`;
}
