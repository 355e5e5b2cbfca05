import { isIpv6 } from '../../addr/ip.ts';
import { CulvertError } from '../../errors.ts';
import { hasSysctl, readSysctl } from '../../linux/sysctl.ts';
import type { RoutedConfig } from '../config/config.ts';

/** Of a link that is made now, in the namespace of the calling thread. */
const DISABLED = 'net/ipv6/conf/default/disable_ipv6';

export function hasIpv6(): boolean {
  return hasSysctl(DISABLED) && readSysctl(DISABLED) === '0';
}

/**
 * What of a config a host without IPv6 can have: many providers' files have both families. Nothing leaves by the other one
 * then, as there is none.
 *
 * @throws CulvertError `no_ipv6` where nothing is left
 */
export function withoutIpv6(config: RoutedConfig): RoutedConfig {
  const isKept = ({ address }: { readonly address: RoutedConfig['addresses'][number]['address'] }): boolean =>
    !isIpv6(address);
  const addresses = config.addresses.filter(isKept);
  const routed = config.routed.filter(isKept);
  const hadBoth = addresses.length > 0 || config.addresses.length === 0;
  if (!hadBoth || (config.routed.length > 0 && routed.length === 0)) {
    const message =
      'Cannot connect: the config is for IPv6 alone, which this host has switched off; set net.ipv6.conf.default.disable_ipv6 to 0';
    throw new CulvertError('no_ipv6', message);
  }
  return { ...config, addresses, routed };
}
