// Parameters that several resources share.
import { Type } from "typebox";
import { Name, uuidPattern } from "../names.ts";

export const InStack = Type.Object({ stack: Name }, { additionalProperties: false });
export const InComponent = Type.Object({ stack: Name, component: Name }, { additionalProperties: false });
export const Id = Type.String({ pattern: uuidPattern });
/** The number of a build, release, rollout, task or version, as the database can hold it. */
export const Number_ = Type.Integer({ minimum: 1, maximum: 2_147_483_647 });
export const UnknownSince = Type.String({
  format: "date-time",
  description: "Its cluster does not answer since then: what is shown is what was seen last. Absent: it does. RFC 3339, UTC.",
});
