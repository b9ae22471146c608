import { BlockList, isIPv4, isIPv6 } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isWithin, parseIpAddress, parseIpNetwork } from "../../src/core/ip-address.ts";

const within = (network: string, address: string) => isWithin(parseIpNetwork(network)!, parseIpAddress(address)!);

describe("parseIpAddress()", () => {
  test.each([
    ["127.0.0.1", 4, 0x7f00_0001n],
    ["255.255.255.255", 4, 0xffff_ffffn],
    ["::", 6, 0n],
    ["::1", 6, 1n],
    ["1::", 6, 1n << 112n],
    ["FE80::A", 6, (0xfe80n << 112n) | 10n],
    ["1:2:3:4:5:6:7:8", 6, 0x0001_0002_0003_0004_0005_0006_0007_0008n],
    ["::7:8", 6, 0x7_0008n],
    ["1:2:3:4:5:6:7::", 6, 0x0001_0002_0003_0004_0005_0006_0007_0000n],
    ["64:ff9b::10.0.0.1", 6, (0x64_ff9bn << 96n) | 0x0a00_0001n],
    ["::ffff:10.0.0.1", 4, 0x0a00_0001n],
    ["::FFFF:a00:1", 4, 0x0a00_0001n],
    ["0:0:0:0:0:ffff:10.0.0.1", 4, 0x0a00_0001n],
    ["::10.0.0.1", 6, 0x0a00_0001n],
  ] as const)("reads %s", (text, family, value) => {
    expect(parseIpAddress(text)).toEqual({ family, value });
  });

  test.each([
    "",
    "localhost",
    "127.1",
    "127.0.0.1.1",
    "127.0.0.256",
    "127.0.0.01",
    "0x7f.0.0.1",
    " 127.0.0.1",
    "127.0.0.1 ",
    "[::1]",
    ":",
    ":::",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4::5:6:7:8",
    ":1:2:3:4:5:6:7",
    "12345::",
    "g::",
    "::1%eth0",
    "::1.2.3",
    "1.2.3.4::",
    "::ffff:127.0.0.1:1",
  ])("refuses %j", (text) => {
    expect(parseIpAddress(text)).toBeUndefined();
  });

  test("takes of any text what Node takes, zones aside", () => {
    const group = fc.oneof(
      fc.constantFrom("", "0", "ffff", "00001", "1.2.3.4", "g"),
      fc.stringMatching(/^[0-9a-f]{1,4}$/),
    );
    const text = fc.oneof(
      fc.ipV6(),
      fc.ipV4(),
      fc.array(group, { maxLength: 10 }).map((parts) => parts.join(":")),
    );
    fc.assert(
      fc.property(text, (address) => {
        expect(parseIpAddress(address) !== undefined).toBe(isIPv4(address) || isIPv6(address));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("parseIpNetwork()", () => {
  test.each(["0.0.0.0/0", "10.0.0.0/8", "10.1.2.3/32", "::/0", "::1/128", "2001:db8::/32", "::ffff:10.0.0.0/104"])(
    "takes %s",
    (text) => {
      expect(parseIpNetwork(text)).toBeDefined();
    },
  );

  test.each([
    "10.0.0.0",
    "10.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.1/8",
    "10.0.0.0/08",
    "10.0.0.0/8/8",
    "/8",
    "::/129",
    "::1/127",
    "::ffff:10.0.0.0/8",
    "::ffff:10.0.0.0/95",
    "::ffff:10.0.0.1/104",
    "localhost/8",
    "10.0.0.0/-1",
    "10.0.0.0/1e1",
  ])("refuses %j", (text) => {
    expect(parseIpNetwork(text)).toBeUndefined();
  });
});

describe("isWithin()", () => {
  test.each([
    ["127.0.0.0/8", "127.255.255.255", true],
    ["127.0.0.0/8", "128.0.0.0", false],
    ["127.0.0.0/8", "126.255.255.255", false],
    ["127.0.0.0/8", "::ffff:127.0.0.1", true],
    ["::ffff:127.0.0.0/104", "127.0.0.1", true],
    ["::/0", "127.0.0.1", false],
    ["::/0", "::ffff:127.0.0.1", false],
    ["0.0.0.0/0", "::1", false],
    ["::1/128", "::1", true],
    ["::1/128", "::2", false],
    ["2001:db8::/32", "2001:db8:ffff::1", true],
    ["2001:db8::/32", "2001:db9::", false],
  ])("of %s and %s is %s", (network, address, expected) => {
    expect(within(network, address)).toBe(expected);
  });

  test("says what Node's block list says, of networks and addresses of one family", () => {
    const pair = fc.oneof(
      fc.tuple(fc.ipV4(), fc.ipV4(), fc.nat(32), fc.constant("ipv4" as const)),
      fc.tuple(fc.ipV6(), fc.ipV6(), fc.nat(128), fc.constant("ipv6" as const)),
    );
    fc.assert(
      fc.property(pair, ([base, other, prefix, family]) => {
        const network = { ...parseIpAddress(base)!, prefix };
        const list = new BlockList();
        list.addSubnet(base, prefix, family);
        for (const address of [base, other]) {
          const parsed = parseIpAddress(address)!;
          // Mapped ones are IPv4 here, and are in the table above.
          if (parsed.family !== network.family || (family === "ipv6" && parsed.family === 4)) continue;
          expect(isWithin(network, parsed)).toBe(list.check(address, family));
        }
      }),
    );
  });
});
