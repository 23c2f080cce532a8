// What a component may say beyond Berth's own words of the objects that it becomes in a Kubernetes cluster: by kind, parts that are merged over them.
import { Type, type Static } from "typebox";

/** The kinds that are made for a component, and that an overlay may speak of. */
export const overlayKinds = ["Deployment", "Job", "Service", "HTTPRoute", "PersistentVolumeClaim", "PodDisruptionBudget"] as const;
export type OverlayKind = (typeof overlayKinds)[number];

/** Part of an object of a Kubernetes API, in its own words; null says nothing. */
const Part = Type.Record(Type.String({ maxLength: 63 }), Type.Unknown(), { maxProperties: 16 });

export const Overlays = Type.Object(
  {
    Deployment: Type.Optional(Part),
    Job: Type.Optional(Part),
    Service: Type.Optional(Part),
    HTTPRoute: Type.Optional(Part),
    PersistentVolumeClaim: Type.Optional(Part),
    PodDisruptionBudget: Type.Optional(Part),
  } satisfies Record<OverlayKind, unknown>,
  {
    additionalProperties: false,
    description:
      "Kind -> part of an object, merged over what Berth makes of the component on Kubernetes (`docs/guide/overlays.md`). No effect on other engines.",
  },
);
export type Overlays = Static<typeof Overlays>;
