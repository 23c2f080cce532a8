import { describe, expect, it } from "vitest";
import { formatEndpoint, parseEndpoint } from "./endpoint.ts";

describe("parseEndpoint", () => {
  it.each([
    ["unix:///var/run/docker.sock", { type: "unix", path: "/var/run/docker.sock" }],
    ["tcp://127.0.0.1:2376", { type: "tcp", host: "127.0.0.1", port: 2376 }],
    ["tcp://docker.example.com", { type: "tcp", host: "docker.example.com", port: 2375 }],
    ["tcp://[::1]:2375/", { type: "tcp", host: "::1", port: 2375 }],
  ])("reads %s", (text, endpoint) => {
    expect(parseEndpoint(text)).toEqual(endpoint);
    expect(parseEndpoint(formatEndpoint(parseEndpoint(text)))).toEqual(endpoint);
  });

  it("takes the port of TLS when there is TLS", () => {
    expect(parseEndpoint("tcp://a", { ca: "PEM" })).toEqual({ type: "tcp", host: "a", port: 2376, tls: { ca: "PEM" } });
  });

  it.each([
    ["/var/run/docker.sock", /write unix:\/\//],
    ["http://127.0.0.1:2375", /write unix:\/\//],
    ["ssh://host", /write unix:\/\//],
    ["unix://docker.sock", /absolute path/],
    [`unix:///${"a".repeat(107)}`, /107 bytes/],
    ["tcp://", /host and port/],
    ["tcp://a:99999", /host and port/],
    ["tcp://a:1/v1.41", /more than a host/],
    ["tcp://user:pass@a:1", /more than a host/],
  ])("refuses %s and says how it is written", (text, message) => {
    expect(() => parseEndpoint(text)).toThrow(message);
  });
});
