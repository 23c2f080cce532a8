import { describe, expect, it } from "vitest";
import { withoutNetwork, withoutPodman } from "./firewall.ts";

const saved = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:NETAVARK_FORWARD - [0:0]
:MINE - [0:0]
-A INPUT -s 10.213.0.0/24 -j ACCEPT
-A FORWARD -m comment --comment "netavark firewall plugin rules" -j NETAVARK_FORWARD
-A FORWARD -j MINE
-A NETAVARK_FORWARD -s 10.213.1.0/24 -j ACCEPT
-A NETAVARK_FORWARD -s 10.21.1.0/24 -j ACCEPT
-A NETAVARK_FORWARD ! -o podman1 -j DROP
-A NETAVARK_FORWARD ! -o podman11 -j DROP
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
:NETAVARK-1D8721804F16F - [0:0]
:NETAVARK-DN-1D8721804F16F - [0:0]
:NETAVARK-HOSTPORT-DNAT - [0:0]
-A POSTROUTING -s 10.213.0.0/24 -j NETAVARK-1D8721804F16F
-A NETAVARK-1D8721804F16F -d 10.213.0.0/24 -j ACCEPT
-A NETAVARK-1D8721804F16F ! -d 224.0.0.0/4 -j MASQUERADE
-A NETAVARK-DN-1D8721804F16F -d 127.0.0.1/32 -p tcp -j DNAT --to-destination 10.213.0.3:80
-A NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport 18081 -j NETAVARK-DN-1D8721804F16F
COMMIT
`;

describe("the rules of one test network", () => {
  it("go with their chains and with what leads there, and nothing else does", () => {
    expect(withoutNetwork(saved, "10.213.", ["podman1"])).toBe(`*filter
-D INPUT -s 10.213.0.0/24 -j ACCEPT
-D NETAVARK_FORWARD -s 10.213.1.0/24 -j ACCEPT
-D NETAVARK_FORWARD ! -o podman1 -j DROP
COMMIT
*nat
-D POSTROUTING -s 10.213.0.0/24 -j NETAVARK-1D8721804F16F
-D NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport 18081 -j NETAVARK-DN-1D8721804F16F
-F NETAVARK-1D8721804F16F
-F NETAVARK-DN-1D8721804F16F
-X NETAVARK-1D8721804F16F
-X NETAVARK-DN-1D8721804F16F
COMMIT
`);
  });

  it("are nothing when nobody made any", () => {
    expect(withoutNetwork(saved, "10.9.", [])).toBe("");
  });
});

describe("podman's chains", () => {
  it("stay while a network is in use", () => {
    expect(withoutPodman(saved)).toBe("");
  });

  it("go when none is, and nothing else does", () => {
    const idle = saved.replaceAll(/^-A NETAVARK_FORWARD.*\n/gm, "");
    expect(withoutPodman(idle)).toMatch(
      /^\*filter\n-D FORWARD .* -j NETAVARK_FORWARD\n-F NETAVARK_FORWARD\n-X NETAVARK_FORWARD\nCOMMIT\n\*nat\n/,
    );
    expect(withoutPodman(idle)).not.toContain("MINE");
  });
});
