import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NETWORKS } from '../../lab/networks.ts';
import { parseIpv4 } from '../addr/ipv4.ts';
import { type KernelObject, ROUTER } from '../plan/state.ts';
import type { Part } from './outside.ts';
import { desired } from './topology/desired.ts';
import { DEFAULT_LAYOUT, sandboxNamespace } from './topology/layout.ts';
import { isWhole } from './whole.ts';

const layout = { ...DEFAULT_LAYOUT, mtu: 1420 };
const stranger: KernelObject = {
  kind: 'address',
  namespace: ROUTER,
  link: { name: 'x', index: 77 },
  address: parseIpv4('10.0.0.1'),
  length: 32,
};

/** What a namespace that has all of it shows. */
function partOf(
  wanted: readonly KernelObject[],
  namespace: string,
): { objects: KernelObject[]; halves: Part['halves'] } {
  const objects = wanted.filter((object) => object.namespace === namespace && object.kind !== 'veth');
  const halves = wanted.flatMap((object) => {
    if (object.kind !== 'veth') return [];
    const { kind: _, peer, ...outer } = object;
    return [
      { end: outer, peerIndex: peer.link.index },
      { end: peer, peerIndex: outer.link.index },
    ].filter(({ end }) => end.namespace === namespace);
  });
  return { objects, halves };
}

describe.each(NETWORKS)('a $topology network', (network) => {
  const wanted = desired(network, layout);
  describe.each([ROUTER, sandboxNamespace(network.slot)])('in %s', (namespace) => {
    const whole = partOf(wanted, namespace);

    it('is whole in whatever order it is seen', () => {
      fc.assert(
        fc.property(fc.shuffledSubarray(whole.objects, { minLength: whole.objects.length }), (objects) =>
          isWhole({ ...whole, objects }, wanted, namespace),
        ),
      );
    });

    it('is not whole where anything is missing, doubled, or is there besides', () => {
      for (const object of whole.objects) {
        const others = whole.objects.filter((one) => one !== object);
        expect(isWhole({ ...whole, objects: others }, wanted, namespace), object.kind).toBe(false);
        expect(isWhole({ ...whole, objects: [...whole.objects, object] }, wanted, namespace), object.kind).toBe(false);
      }
      expect(isWhole({ ...whole, halves: [] }, wanted, namespace)).toBe(false);
      expect(isWhole({ ...whole, halves: [...whole.halves, ...whole.halves] }, wanted, namespace)).toBe(false);
      expect(isWhole({ ...whole, objects: [...whole.objects, stranger] }, wanted, namespace)).toBe(false);
    });

    it('is not whole where the end of its pair is another in any respect', () => {
      const [half] = whole.halves;
      if (half === undefined) throw new Error('There is no pair');
      const others = [
        { ...half, peerIndex: half.peerIndex + 1 },
        { ...half, end: { ...half.end, up: false } },
        { ...half, end: { ...half.end, mtu: 1400 } },
        { ...half, end: { ...half.end, mac: half.end.mac.map((byte) => byte ^ 1) as typeof half.end.mac } },
        { ...half, end: { ...half.end, link: { ...half.end.link, name: 'other' } } },
      ];
      for (const other of others) expect(isWhole({ ...whole, halves: [other] }, wanted, namespace)).toBe(false);
    });

    it('is not whole where what is shaped, routed or neighboured is so otherwise', () => {
      for (const object of whole.objects) {
        const other =
          object.kind === 'shaper'
            ? { ...object, rate: object.rate + 1 }
            : object.kind === 'neighbour'
              ? { ...object, mac: layout.tap.mac }
              : object.kind === 'route'
                ? { ...object, link: { name: 'other', index: 99 } }
                : undefined;
        if (other === undefined) continue;
        const objects = whole.objects.map((one) => (one === object ? other : one));
        expect(isWhole({ ...whole, objects }, wanted, namespace), object.kind).toBe(false);
      }
    });
  });
});
