// Parameters that several resources share.
import { Type } from "typebox";
import { Name } from "../names.ts";

export const InStack = Type.Object({ stack: Name }, { additionalProperties: false });
export const InComponent = Type.Object({ stack: Name, component: Name }, { additionalProperties: false });
export const Id = Type.String({ pattern: "^[0-9a-f-]{36}$" });
export const Number_ = Type.Integer({ minimum: 1 });
