// The probe that decides "done": it goes through the public door and must be answered by the new release (promise 1).
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { ReleaseRow } from "../../resources/releases/store.ts";
import type { ComponentLoopDeps, PassContext } from "./deps.ts";
import type { Loaded } from "./load.ts";

export interface Verified { readonly url: string; readonly status: number; readonly took: number }
export type Verdict = { readonly ok: true; readonly verified: Verified[] } | { readonly ok: false; readonly cause: Cause };

/** An answer from the application itself that is not its own error counts; which page it is, is the application's business. */
const passes = (status: number): boolean => status >= 200 && status < 500;

export async function verifyThroughRouter(deps: ComponentLoopDeps, loaded: Loaded, release: ReleaseRow, context: PassContext): Promise<Verdict> {
  const traffic = deps.places.traffic(loaded.stack.cluster);
  const verified: Verified[] = [];
  for (const route of loaded.routes) {
    if (route.host.startsWith("*.")) continue;
    const path = probePath(release, route.path);
    const answer = await traffic.probe({ ref: { stack: loaded.stack.name, component: loaded.component.name }, port: route.portName, host: route.host, path, releaseHash: release.hash }, context.signal);
    const evidence = [{ kind: "probe" as const, text: `GET ${answer.url} -> ${answer.error ?? String(answer.status)} after ${Math.round(answer.took)} ms` }];
    if (answer.error !== undefined || !passes(answer.status)) return { ok: false, cause: cause("verify_failed", { url: answer.url, status: answer.error ?? answer.status }, evidence) };
    if (answer.releaseHash !== release.hash) return { ok: false, cause: cause("verify_wrong_release", { url: answer.url }, evidence) };
    verified.push({ url: traffic.publicUrl(route.host, route.path), status: answer.status, took: answer.took });
  }
  return { ok: true, verified };
}

function probePath(release: ReleaseRow, routePath: string): string {
  const check = release.spec.probes.readiness?.check;
  return check?.type === "http" && check.path.startsWith(routePath) ? check.path : routePath;
}
