// Overlays of a component over the objects that it becomes: every object goes through here before it is shown or applied. Pure.
import { cause } from "@berth/contract/causes.ts";
import { overlaid } from "../../core/overlay/overlay.ts";
import { EngineFailure, type OverlayRefusal, type Workload } from "../engine.ts";

type Overlaying = Pick<Workload, "ref"> & { readonly kubernetes?: Workload["kubernetes"] } & Partial<Pick<Workload, "securityProfile">>;

/** The object as it is applied. Errors: EngineFailure (`overlay_refused`) for the first thing that an overlay may not have, whoever took it in. */
export function withOverlay<T extends { readonly kind: string }>(object: T, { kubernetes, securityProfile = "baseline" }: Overlaying): T {
  const { object: whole, refusals } = overlaid(object, kubernetes, securityProfile);
  const [first] = refusals;
  if (first === undefined) return whole;
  const { path, reason, way } = first;
  throw new EngineFailure(cause("overlay_refused", { kind: object.kind, path, reason, way }), { retryable: false });
}

/** All that the workload's overlays may not have. `bare`: the objects of the workload without them. */
export function refusalsOf(bare: readonly { readonly kind: string }[], { kubernetes, securityProfile }: Workload): OverlayRefusal[] {
  const found = bare.flatMap(({ kind, ...object }) =>
    overlaid({ ...object, kind }, kubernetes, securityProfile).refusals.map((refusal) => ({ ...refusal, kind })),
  );
  // Of several objects of a kind all say the same.
  return [...new Map(found.map((one) => [`${one.kind} ${one.path} ${one.reason}`, one])).values()];
}
