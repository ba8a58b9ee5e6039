// SPDX-License-Identifier: Apache-2.0
#include "kube/resolver.h"

#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

#define DEFAULT_TIMEOUT_MS 2000
#define DEFAULT_REFRESH_MS 60000
/* A node agent talks to its kubelet, an API server and a webhook. */
#define HOSTS_MAX 16
#define TRIES 2

struct resolver_host {
	struct resolver *resolver;
	char name[RESOLVER_HOST_MAX]; /* "": free */
	char addresses[RESOLVER_ADDRESSES_MAX]; /* "": never known */
	int64_t good_ms; /* when they were resolved */
	int64_t asked_ms; /* for the choice of a host to forget */
	bool suspect; /* ask again, whatever their age */
	bool failed; /* the last query did */
	/* A channel a query, so that a changed /etc/resolv.conf is seen and a query is given up by
	 * destroying its channel. */
	ares_channel channel;
	struct loop_timer *timer;
	int64_t deadline_ms;
	bool starting; /* inside ares_getaddrinfo() */
	bool done; /* answered; the channel must not be destroyed from inside its own callback */
	int err;
	char error[160];
};

struct resolver {
	struct loop *loop;
	struct resolver_options options;
	char *servers;
	struct resolver_stats stats;
	struct resolver_host hosts[HOSTS_MAX];
};

static void query_event(struct loop *loop, int fd, uint32_t events, void *data);

static void query_timer(struct loop *loop, void *data);

/* c-ares says 0, 0 before it closes a socket. */
static void socket_changed(void *data, ares_socket_t fd, int readable, int writable)
{
	struct resolver_host *host = data;
	uint32_t events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);

	if (events == 0) {
		loop_remove_fd(host->resolver->loop, fd);
		return;
	}
	/* A socket that cannot be watched answers nothing: the query's timeout says so. */
	if (loop_modify_fd(host->resolver->loop, fd, events) == -ENOENT)
		loop_add_fd(host->resolver->loop, fd, events, query_event, host);
}

static void query_end(struct resolver_host *host)
{
	if (host->channel)
		ares_destroy(host->channel);
	host->channel = NULL;
	if (host->timer)
		loop_timer_stop(host->timer);
}

static void host_forget(struct resolver_host *host)
{
	query_end(host);
	loop_timer_free(host->timer);
	*host = (struct resolver_host){ .resolver = host->resolver };
}

static void add_address(struct resolver_host *host, const struct sockaddr *address)
{
	char text[INET6_ADDRSTRLEN], *to = host->addresses;
	size_t len = strlen(to);
	const void *raw;
	bool v6 = address->sa_family == AF_INET6;

	if (v6)
		raw = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
	else if (address->sa_family == AF_INET)
		raw = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
	else
		return;
	/* Room for a comma, two brackets and the longest address; the first dozen will do. */
	if (!inet_ntop(address->sa_family, raw, text, sizeof(text)) ||
	    len + sizeof(text) + 3 > sizeof(host->addresses))
		return;
	snprintf(to + len, sizeof(host->addresses) - len, v6 ? "%s[%s]" : "%s%s",
		 len > 0 ? "," : "", text);
}

static void query_answer(void *data, int status, int timeouts, struct ares_addrinfo *answer)
{
	struct resolver_host *host = data;

	(void)timeouts;
	host->done = true;
	if (status == ARES_EDESTRUCTION) {
		/* Our own doing: the caller of query_end() knows why. */
	} else if (status == ARES_SUCCESS && answer && answer->nodes) {
		host->addresses[0] = '\0';
		for (const struct ares_addrinfo_node *node = answer->nodes; node;
		     node = node->ai_next)
			add_address(host, node->ai_addr);
		host->good_ms = loop_now_ms(host->resolver->loop);
		host->err = 0;
	} else {
		host->err = status == ARES_ENOMEM ? -ENOMEM : -EHOSTUNREACH;
		snprintf(host->error, sizeof(host->error), "cannot resolve the host: %s",
			 ares_strerror(status));
	}
	ares_freeaddrinfo(answer);
}

static void query_finish(struct resolver_host *host)
{
	struct resolver *resolver = host->resolver;
	char name[RESOLVER_HOST_MAX];

	query_end(host);
	host->failed = host->err < 0;
	host->suspect = false;
	if (host->failed)
		resolver->stats.failures++;
	if (host->starting)
		return;
	/* The callback may make this slot another host's. */
	memcpy(name, host->name, sizeof(name));
	if (resolver->options.on_answer)
		resolver->options.on_answer(name, host->err, host->error, resolver->options.data);
}

/* After anything c-ares did: the query is over, or its next wake-up is set. */
static void query_check(struct resolver_host *host)
{
	int64_t left = host->deadline_ms - loop_now_ms(host->resolver->loop);
	struct timeval tv, *wait;

	if (host->done) {
		query_finish(host);
		return;
	}
	if (left <= 0) {
		host->err = -ETIMEDOUT;
		snprintf(host->error, sizeof(host->error),
			 "cannot resolve the host: no answer within %lld ms",
			 (long long)host->resolver->options.timeout_ms);
		query_finish(host);
		return;
	}
	wait = ares_timeout(host->channel, NULL, &tv);
	if (wait && (int64_t)wait->tv_sec * 1000 + wait->tv_usec / 1000 < left)
		left = (int64_t)wait->tv_sec * 1000 + wait->tv_usec / 1000 + 1;
	loop_timer_set(host->timer, left);
}

static void query_event(struct loop *loop, int fd, uint32_t events, void *data)
{
	struct resolver_host *host = data;
	bool broken = (events & (EPOLLERR | EPOLLHUP)) != 0;

	(void)loop;
	ares_process_fd(host->channel, (events & EPOLLIN) || broken ? fd : ARES_SOCKET_BAD,
			events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
	query_check(host);
}

static void query_timer(struct loop *loop, void *data)
{
	struct resolver_host *host = data;

	(void)loop;
	if (!host->channel)
		return;
	ares_process_fd(host->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	query_check(host);
}

static int query_start(struct resolver_host *host)
{
	struct resolver *resolver = host->resolver;
	char lookups[] = "fb"; /* /etc/hosts first, whatever nsswitch.conf says of the build host */
	struct ares_options options = {
		/* c-ares doubles it for the second try: both fit the whole. */
		.timeout = (int)(resolver->options.timeout_ms / 4),
		.tries = TRIES,
		.lookups = lookups,
		.sock_state_cb = socket_changed,
		.sock_state_cb_data = host,
	};
	const struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC };
	int status;

	if (!host->timer) {
		int err = loop_timer_new(resolver->loop, query_timer, host, &host->timer);

		if (err < 0)
			return err;
	}
	status = ares_init_options(&host->channel, &options,
				   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
					   ARES_OPT_SOCK_STATE_CB);
	if (status == ARES_SUCCESS && resolver->servers)
		status = ares_set_servers_ports_csv(host->channel, resolver->servers);
	if (status != ARES_SUCCESS) {
		query_end(host);
		return status == ARES_ENOMEM ? -ENOMEM : -EIO;
	}
	resolver->stats.queries++;
	host->done = false;
	host->err = 0;
	host->error[0] = '\0';
	host->deadline_ms = loop_now_ms(resolver->loop) + resolver->options.timeout_ms;
	host->starting = true;
	ares_getaddrinfo(host->channel, host->name, NULL, &hints, query_answer, host);
	/* An answer at once (/etc/hosts, or no socket to be had) is told in the next round when it
	 * is bad, so that no caller is called back from inside its own call. */
	if (host->done && host->err == 0)
		query_finish(host);
	else if (host->done)
		loop_timer_set(host->timer, 0);
	else
		query_check(host);
	host->starting = false;
	return 0;
}

int resolver_new(struct loop *loop, const struct resolver_options *options,
		 struct resolver **ret_resolver)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));

	if (!resolver)
		return -ENOMEM;
	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
		free(resolver);
		return -ENOMEM;
	}
	resolver->loop = loop;
	resolver->options = *options;
	resolver->options.servers = NULL;
	if (resolver->options.timeout_ms <= 0)
		resolver->options.timeout_ms = DEFAULT_TIMEOUT_MS;
	if (resolver->options.refresh_ms <= 0)
		resolver->options.refresh_ms = DEFAULT_REFRESH_MS;
	for (size_t i = 0; i < HOSTS_MAX; i++)
		resolver->hosts[i].resolver = resolver;
	if (options->servers) {
		resolver->servers = strdup(options->servers);
		if (!resolver->servers) {
			resolver_free(resolver);
			return -ENOMEM;
		}
	}
	*ret_resolver = resolver;
	return 0;
}

void resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return;
	for (size_t i = 0; i < HOSTS_MAX; i++)
		host_forget(&resolver->hosts[i]);
	free(resolver->servers);
	free(resolver);
	ares_library_cleanup();
}

bool resolver_is_literal(const char *host)
{
	struct in6_addr address;

	return inet_pton(AF_INET, host, &address) == 1 ||
	       inet_pton(AF_INET6, host, &address) == 1 || strcasecmp(host, "localhost") == 0;
}

static struct resolver_host *find_host(struct resolver *resolver, const char *name)
{
	for (size_t i = 0; i < HOSTS_MAX; i++) {
		if (*name != '\0' && strcasecmp(resolver->hosts[i].name, name) == 0)
			return &resolver->hosts[i];
	}
	return NULL;
}

/* A free slot, or that of the host asked for longest ago that no query runs for. */
static struct resolver_host *take_slot(struct resolver *resolver)
{
	struct resolver_host *oldest = NULL;

	for (size_t i = 0; i < HOSTS_MAX; i++) {
		struct resolver_host *host = &resolver->hosts[i];

		if (*host->name == '\0')
			return host;
		if (!host->channel && (!oldest || host->asked_ms < oldest->asked_ms))
			oldest = host;
	}
	if (oldest)
		host_forget(oldest);
	return oldest;
}

static bool is_host_name(const char *host)
{
	size_t len =
		strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");

	return len > 0 && len < RESOLVER_HOST_MAX && host[len] == '\0';
}

int resolver_get(struct resolver *resolver, const char *host, const char **ret_addresses)
{
	int64_t now_ms = loop_now_ms(resolver->loop);
	struct resolver_host *entry;

	if (!is_host_name(host))
		return -EINVAL;
	entry = find_host(resolver, host);
	if (!entry) {
		entry = take_slot(resolver);
		if (!entry)
			return -ENOMEM;
		snprintf(entry->name, sizeof(entry->name), "%s", host);
	}
	entry->asked_ms = now_ms;
	if (!entry->channel && (*entry->addresses == '\0' || entry->suspect ||
				now_ms - entry->good_ms >= resolver->options.refresh_ms)) {
		int err = query_start(entry);

		if (err < 0 && *entry->addresses == '\0')
			return err;
	}
	if (*entry->addresses == '\0')
		return -EINPROGRESS;
	if (entry->failed)
		resolver->stats.stale_answers++;
	*ret_addresses = entry->addresses;
	return 0;
}

void resolver_suspect(struct resolver *resolver, const char *host)
{
	struct resolver_host *entry = find_host(resolver, host);

	if (entry)
		entry->suspect = true;
}

const struct resolver_stats *resolver_stats(const struct resolver *resolver)
{
	return &resolver->stats;
}
