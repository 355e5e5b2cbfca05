import type { Kernel } from '../../linux/apply.ts';
import { listNeighbours, listRemotes } from '../../linux/observe/attached.ts';
import { joinVeths } from '../../linux/observe/links.ts';
import { listRoutes } from '../../linux/observe/routes.ts';
import { listPolicyRules } from '../../linux/observe/rules.ts';
import { linkIndex, readLinkEnd } from '../../linux/route/ifreq.ts';
import { diff, type Plan } from '../../plan/diff.ts';
import { type KernelObject, type Link, objectKey, ROOT, ROUTER } from '../../plan/state.ts';
import { clearLink, directCable, directLink, directTable } from '../link.ts';
import { clearObjects } from './objects.ts';
import type { ClearOptions } from './options.ts';

/** What leads to {@link clearObjects} from what there is of them; ends of cables that lead elsewhere go first. */
export function basePlan(kernel: Kernel, options: ClearOptions): Plan {
  const { instance } = options;
  const wanted = clearObjects(options);
  const keys = new Set(wanted.map(objectKey));
  const states = [ROOT, ROUTER].map((namespace) => kernel.find(namespace, wanted));
  const halves = states.flatMap((state) => state.halves);
  const pairs = joinVeths(halves, ROOT);
  const seen = [...states.flatMap(({ objects }) => objects), ...pairs].filter(
    (object) =>
      keys.has(objectKey(object)) ||
      // one of other settings has its name and its index
      (object.kind === 'vxlan' && object.link.index === clearLink(instance).index) ||
      (object.kind === 'rule' && isOurRule(object, instance)),
  );
  if (pairs.length > 0 || halves.length === 0) return diff(seen, wanted);
  const strays = halves.map(({ end }) => ({ verb: 'delete', object: { kind: 'veth', ...end, peer: end } }) as const);
  const isOnOne = (object: KernelObject): boolean =>
    'link' in object &&
    halves.some(({ end }) => end.namespace === object.namespace && end.link.index === object.link.index);
  return [
    ...strays,
    ...diff(
      seen.filter((object) => !isOnOne(object)),
      wanted,
    ),
  ];
}

/** What there is of peers, known ones or not. */
export function seenPeers(kernel: Kernel, options: ClearOptions): KernelObject[] {
  const { instance, port, subnet } = options;
  const inRouter = kernel.withSocket(ROUTER, (socket) => {
    const links = namesOf([clearLink(instance), directLink(instance)]);
    return [...links.values()].flatMap((link): KernelObject[] => {
      if (readLinkEnd(socket, ROUTER, link.index) === undefined) return [];
      const neighbours = listNeighbours(socket, ROUTER, links, link);
      const isVxlan = link.index === clearLink(instance).index;
      return isVxlan ? [...listRemotes(socket, ROUTER, link, port), ...neighbours] : neighbours;
    });
  });
  const routes = tableRoutes(kernel, instance);
  // the host's own is none of a peer
  return [...inRouter, ...routes.filter(({ destination }) => destination.address !== subnet.address)];
}

/** What does not go with the links. */
export function leftOver(kernel: Kernel, instance: string): KernelObject[] {
  const rules = kernel.withSocket(ROOT, (socket) => listPolicyRules(socket, ROOT));
  return [...rules.filter((rule) => isOurRule(rule, instance)), ...tableRoutes(kernel, instance)];
}

/** The uplink as it is now, where it is up. */
export function uplinkOf(kernel: Kernel, { uplink }: ClearOptions): Link | undefined {
  if (uplink === undefined) return undefined;
  return kernel.withSocket(ROOT, (socket) => {
    const index = linkIndex(socket, uplink);
    const end = index === undefined ? undefined : readLinkEnd(socket, ROOT, index);
    return end?.up === true ? end.link : undefined;
  });
}

/** All routes of the table, by whatever link: the uplink may have been another. */
function tableRoutes(kernel: Kernel, instance: string): (KernelObject & { kind: 'route' })[] {
  return kernel.withSocket(ROOT, (socket) => {
    const links = new Map<number, Link | undefined>();
    const get = (index: number): Link | undefined => {
      if (!links.has(index)) links.set(index, readLinkEnd(socket, ROOT, index)?.link);
      return links.get(index);
    };
    return listRoutes(socket, ROOT, { get }, { table: directTable(instance) });
  });
}

function isOurRule({ iif, table }: KernelObject & { kind: 'rule' }, instance: string): boolean {
  if (iif === undefined) return false;
  return table === directTable(instance) || iif === directCable(instance).name;
}

function namesOf(links: readonly Link[]): Map<number, Link> {
  return new Map(links.map((link) => [link.index, link]));
}
