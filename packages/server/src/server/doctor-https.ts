// What `berth doctor` says of HTTPS: whether the edge serves it with the certificates there are, and which of them need somebody. Pure.
import { renderCause, type Cause } from "@berth/contract/causes.ts";
import { renderNote } from "@berth/contract/notes.ts";
import { certificateNotes } from "../core/certificates.ts";
import type { Hello } from "../edge/ipc.ts";
import type { expiryOf } from "../resources/certificates/store.ts";
import type { Found } from "./doctor-check.ts";

type Held = Awaited<ReturnType<typeof expiryOf>>;

/** Shown of those that have none. */
const mostHosts = 3;

/** `failing`: hosts that got no certificate by themselves. */
export function https(
  edge: Hello["https"],
  certificates: Held,
  now: Date,
  failing: readonly { readonly host: string; readonly cause: Cause }[] = [],
): Found {
  const found = served(edge, certificates, now);
  if (failing.length === 0 || found.status !== "ok") return found;
  const causes = failing.slice(0, mostHosts).map(({ cause }) => renderCause(cause).sentence);
  const more = failing.length > mostHosts ? ` And ${String(failing.length - mostHosts)} more.` : "";
  return {
    status: "warning",
    found: `${causes.join(" ")}${more}`,
    next: "It is tried again by itself; `berth certificates show HOST` tells what to mend.",
  };
}

function served(edge: Hello["https"], certificates: Held, now: Date): Found {
  if (certificates.length === 0) return { status: "ok", found: "no certificates, so HTTP only" };
  if (edge === undefined)
    return { status: "warning", found: "the edge has not taken the certificates yet", next: "See whether the work queue is well." };
  if (edge.problem !== undefined)
    return { status: "failed", found: `HTTPS is not open: ${edge.problem}`, next: "Set BERTH_HTTPS_PORT, or stop what listens there." };
  const open = new Set(edge.hosts);
  const left = certificates.filter(({ hosts }) => !hosts.every((host) => open.has(host))).map(({ name }) => name);
  if (left.length > 0)
    return {
      status: "warning",
      found: `the edge does not serve ${left.join(", ")}: it was not given the key`,
      next: "A moment after a change this is no fault. When it stays, this server cannot open the key: give the certificate again with `berth certificates set`, asked of this server.",
    };
  const urgent = certificates.flatMap((one) =>
    certificateNotes(
      {
        notBefore: one.not_before,
        notAfter: one.not_after,
        length: one.chain_length,
        selfSigned: one.self_signed,
        renews: one.kept_by !== null,
      },
      now,
    )
      .filter(({ code }) => code !== "certificate_self_signed" && code !== "certificate_alone")
      .map((note) => `${one.name}: ${renderNote(note)}`),
  );
  const expired = certificates.some((one) => one.not_after <= now);
  if (urgent.length > 0)
    return {
      status: expired ? "failed" : "warning",
      found: urgent.join(" "),
      next: "`berth certificates set` puts a new one in its place.",
    };
  const [first] = certificates;
  return {
    status: "ok",
    found: `${edge.host}:${String(edge.port)}, ${String(certificates.length)} certificate(s); the first to end is ${first?.name ?? ""}, on ${first?.not_after.toISOString().slice(0, 10) ?? ""}`,
  };
}
