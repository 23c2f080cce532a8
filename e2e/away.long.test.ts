import { test } from "vitest";
import { goneFor } from "./away.ts";

test("PostgreSQL gone for a minute: the API says so, applications do not notice, and everything goes on by itself", () => goneFor(60));
