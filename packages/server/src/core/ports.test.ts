import { expect, it } from "vitest";
import { portNumbers } from "./ports.ts";

it.each([
  [[{ name: "http" }], { http: 8080 }],
  [[{ name: "http", port: 3000 }, { name: "admin" }], { http: 3000, admin: 8080 }],
  [[{ name: "a" }, { name: "b", port: 8080 }, { name: "c" }, { name: "d", port: 8082 }], { a: 8081, b: 8080, c: 8083, d: 8082 }],
  [[], {}],
])("%j listen at %j", (ports, numbers) => {
  expect(portNumbers(ports)).toEqual(numbers);
});
