"""HTTP without the proxies of the environment, which Locust's own client does not use either."""

import urllib.request

#: `urllib.request.urlopen` that ignores HTTP_PROXY and its relatives.
open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
