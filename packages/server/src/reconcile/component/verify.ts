// The probe that decides "done": it goes through the public door and must be answered by the new release (promise 1).
import { cause, type Cause, type Evidence } from "@berth/contract/causes.ts";
import { wantedRoutes } from "../../core/traffic-entry.ts";
import { refOf, type Instance } from "../../engines/engine.ts";
import type { ReleaseRow } from "../../resources/releases/store.ts";
import type { ComponentLoopDeps, PassContext } from "./deps.ts";
import type { Loaded } from "./load.ts";

export interface Verified {
  readonly url: string;
  readonly status: number;
  readonly took: number;
}
/** `attempts`: after so many of these verdicts in a row nothing else is to be expected. */
export type Verdict =
  { readonly ok: true; readonly verified: Verified[] } | { readonly ok: false; readonly cause: Cause; readonly attempts: number };

/** A program may still be warming up; a port that another program holds is free again only when that program ends. */
const attempts = { answer: 20, port: 8 };
const evidenceLines = 15;

/** An answer from the application itself that is not its own error counts; which page it is, is the application's business. */
const passes = (status: number): boolean => status >= 200 && status < 500;

export async function verifyThroughRouter(
  deps: ComponentLoopDeps,
  loaded: Loaded,
  release: ReleaseRow,
  instances: readonly Instance[],
  context: PassContext,
): Promise<Verdict> {
  const traffic = deps.places.traffic(loaded.stack.cluster);
  const ref = refOf(loaded.stack, loaded.component.name);
  // A TCP port has no URL to fetch, and where siblings come nobody else does: that the edge listens there is what can be known.
  const published = new Set(release.spec.ports.map((port) => port.published));
  const closed =
    release.spec.ports.length === 0
      ? undefined
      : (await traffic.applied(ref, context.signal)).problems.find(
          ({ code, params }) => code === "inner_address_unavailable" || published.has(Number(params["port"])),
        );
  if (closed !== undefined) return { ok: false, cause: closed, attempts: attempts.port };
  const verified: Verified[] = [];
  for (const route of wantedRoutes(loaded.stack, ref.component, release.spec)) {
    // A host that a sibling took over meanwhile is the sibling's to verify.
    if (route.host.startsWith("*.") || !loaded.hosts.has(`${route.host} ${route.path}`)) continue;
    const path = probePath(release, route.path);
    const answer = await traffic.probe({ ref, port: route.portName, host: route.host, path, releaseHash: release.hash }, context.signal);
    const evidence: Evidence[] = [
      { kind: "probe", text: `GET ${answer.url} -> ${answer.error ?? String(answer.status)} after ${Math.round(answer.took)} ms` },
    ];
    if (answer.error !== undefined || !passes(answer.status)) {
      const lines = await lastWords(
        deps,
        loaded,
        instances.filter((instance) => instance.revision.releaseHash === release.hash),
        context,
      );
      return {
        ok: false,
        cause: cause("verify_failed", { url: answer.url, status: answer.error ?? answer.status }, [...evidence, ...lines]),
        attempts: attempts.answer,
      };
    }
    if (answer.releaseHash !== release.hash)
      return { ok: false, cause: cause("verify_wrong_release", { url: answer.url }, evidence), attempts: attempts.answer };
    verified.push({ url: traffic.publicUrl(route.host, route.path), status: answer.status, took: answer.took });
  }
  return { ok: true, verified };
}

/** What the program printed last, taken before the way back removes it. */
async function lastWords(
  deps: ComponentLoopDeps,
  loaded: Loaded,
  instances: readonly Instance[],
  context: PassContext,
): Promise<Evidence[]> {
  const [instance] = instances;
  if (instance === undefined) return [];
  const lines: Evidence[] = [];
  const ref = refOf(loaded.stack, loaded.component.name);
  for await (const line of deps.places
    .engine(loaded.stack.cluster)
    .logs(ref, { instance: instance.id, tail: evidenceLines, follow: false }, context.signal))
    lines.push({ kind: "log", at: line.at, text: line.text.slice(0, 4096) });
  return lines.slice(-evidenceLines);
}

function probePath(release: ReleaseRow, routePath: string): string {
  const check = release.spec.probes.readiness?.check;
  return check?.type === "http" && check.path.startsWith(routePath) ? check.path : routePath;
}
