import { expect, test } from "vitest";
import { composeGuide } from "./guide.ts";

test("docs/guide/compose.md says what the key table says (vitest -u writes it)", async () => {
  await expect(composeGuide()).toMatchFileSnapshot("../../../../../docs/guide/compose.md");
});
