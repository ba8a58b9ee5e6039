// SPDX-License-Identifier: Apache-2.0
/* Names: the client against a DNS server in the same loop, and /etc/hosts. */
#include "http_fetch.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include "kube/resolver.h"

static struct {
	int fd;
	int queries;
	enum {
		DNS_ANSWER,
		DNS_NXDOMAIN,
		DNS_SILENT
	} mode;
	char servers[32];
} dns;

static void dns_event(struct loop *l, int fd, uint32_t events, void *data)
{
	unsigned char packet[512];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	ssize_t len =
		recvfrom(fd, packet, sizeof(packet) - 32, 0, (struct sockaddr *)&from, &from_len);
	size_t at = 12;
	bool a;

	(void)l;
	(void)events;
	(void)data;
	if (len < 17)
		return;
	dns.queries++;
	if (dns.mode == DNS_SILENT)
		return;
	while (packet[at] != 0)
		at += packet[at] + 1u;
	a = packet[at + 2] == 1;
	at += 5;
	packet[2] = 0x81;
	packet[3] = dns.mode == DNS_NXDOMAIN ? 0x83 : 0x80;
	memset(packet + 6, 0, 6);
	if (dns.mode == DNS_ANSWER && a) {
		static const unsigned char answer[] = { 0xc0, 12, 0, 1, 0,   1, 0, 0,
							0,    60, 0, 4, 127, 0, 0, 1 };

		packet[7] = 1;
		memcpy(packet + at, answer, sizeof(answer));
		at += sizeof(answer);
	}
	sendto(fd, packet, at, 0, (struct sockaddr *)&from, from_len);
}

static void test_names(void **state)
{
	const struct http_client_options options = { .dns_servers = dns.servers,
						     .dns_refresh_ms = 100 };
	struct http_client_stats stats;
	struct outcome outcome = { 0 }, other = { 0 };
	struct http_client *client;
	char url[64];
	int queries;

	(void)state;
	assert_int_equal(http_client_new(loop, &options, &client), 0);
	snprintf(url, sizeof(url), "http://kubelet.test:%d/", server.port);
	server_set(&server, SERVER_ECHO, 200, "", 0);

	dns.mode = DNS_NXDOMAIN;
	fetch(client, (struct http_request_options){ .url = url }, &outcome);
	assert_int_equal(outcome.result.err, -EHOSTUNREACH);
	assert_non_null(strstr(outcome.result.error, "kubelet.test"));
	dns.mode = DNS_SILENT;
	fetch(client, (struct http_request_options){ .url = url, .timeout_ms = 300 }, &outcome);
	assert_int_equal(outcome.result.err, -ETIMEDOUT);
	/* Cancelled while it is resolved. */
	start(client, (struct http_request_options){ .url = url }, &outcome);
	spin_ms(50);
	http_request_cancel(outcome.request);
	spin_ms(2500);
	assert_int_equal(outcome.calls, 0);

	dns.mode = DNS_ANSWER;
	queries = dns.queries;
	/* Two at once make one query; each name is its own Host. */
	start(client, (struct http_request_options){ .url = url }, &outcome);
	fetch(client, (struct http_request_options){ .url = url }, &other);
	spin_ms(100);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.result.err, 0);
	assert_int_equal(other.result.err, 0);
	assert_non_null(strstr(outcome.body.data, "Host: kubelet.test:"));
	assert_int_equal(dns.queries - queries, 2); /* A and AAAA */

	/* Gone from the DNS, then the DNS itself: the last good address serves on, without delay. */
	for (int i = 0; i < 2; i++) {
		int64_t began_ms;

		dns.mode = i > 0 ? DNS_SILENT : DNS_NXDOMAIN;
		spin_ms(150);
		fetch(client, (struct http_request_options){ .url = url }, &outcome);
		assert_int_equal(outcome.result.err, 0);
		spin_ms(i > 0 ? 2500 : 100);
		began_ms = clock_mono_ms();
		fetch(client, (struct http_request_options){ .url = url }, &outcome);
		assert_int_equal(outcome.result.err, 0);
		assert_true(clock_mono_ms() - began_ms < 500);
	}
	http_client_stats(client, &stats);
	assert_true(stats.dns_failures >= 4);
	assert_true(stats.dns_stale_answers >= 2);
	fetch(client, (struct http_request_options){ .url = "http://b\xc3\xbc.test/" }, &outcome);
	assert_int_equal(outcome.result.err, -EINVAL);
	/* Freed while a query runs. */
	start(client, (struct http_request_options){ .url = "http://other.test/" }, &outcome);
	spin_ms(50);
	http_client_free(client);
	spin_ms(50);
	assert_int_equal(outcome.calls, 0);
	buf_done(&outcome.body);
	buf_done(&other.body);
}

static void on_answer(const char *host, int err, const char *error, void *data)
{
	int *answers = data;

	assert_string_equal(host, "kubelet.test");
	assert_int_equal(err, 0);
	assert_string_equal(error, "");
	(*answers)++;
}

/* A refreshed name has its new addresses, not those beside the old. */
static void test_refreshed_name(void **state)
{
	int answers = 0;
	const struct resolver_options options = {
		.servers = dns.servers, .refresh_ms = 1, .on_answer = on_answer, .data = &answers
	};
	struct resolver *resolver;
	const char *addresses;

	(void)state;
	dns.mode = DNS_ANSWER;
	assert_int_equal(resolver_new(loop, &options, &resolver), 0);
	assert_int_equal(resolver_get(resolver, "kubelet.test", &addresses), -EINPROGRESS);
	for (int i = 0; i < 5; i++) {
		spin_ms(30);
		assert_int_equal(answers, i + 1);
		assert_int_equal(resolver_get(resolver, "KUBELET.test", &addresses), 0);
		assert_string_equal(addresses, "127.0.0.1");
	}
	/* More names at once than it keeps: the further ones are refused, not queued. */
	spin_ms(30);
	dns.mode = DNS_SILENT;
	for (int i = 0; i < 20; i++) {
		char host[32];

		snprintf(host, sizeof(host), "host-%d.test", i);
		assert_int_equal(resolver_get(resolver, host, &addresses),
				 i < 16 ? -EINPROGRESS : -ENOMEM);
	}
	resolver_free(resolver);
	resolver_free(NULL);
}

/* A name of /etc/hosts other than localhost. False: there is none. */
static bool name_of_hosts_file(char *ret_name, size_t size)
{
	FILE *file = fopen("/etc/hosts", "re");
	char line[512], *rest, *name;
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "#\n")] = '\0';
		name = strtok_r(line, " \t", &rest);
		while (name && !found) {
			name = strtok_r(NULL, " \t", &rest);
			found = name && strcmp(name, "localhost") != 0 && strlen(name) < size;
		}
		if (found)
			snprintf(ret_name, size, "%s", name);
	}
	if (file)
		fclose(file);
	return found;
}

/* The DNS is not asked for it; whether something listens there does not matter. */
static void test_hosts_file(void **state)
{
	const struct http_client_options options = { .dns_servers = dns.servers };
	struct outcome outcome = { 0 };
	struct http_client *client;
	char name[200], url[256];
	int queries;

	(void)state;
	if (!name_of_hosts_file(name, sizeof(name))) {
		print_message("no name in /etc/hosts but localhost\n");
		skip();
	}
	dns.mode = DNS_SILENT;
	spin_ms(20); /* what other tests asked has arrived */
	queries = dns.queries;
	assert_int_equal(http_client_new(loop, &options, &client), 0);
	snprintf(url, sizeof(url), "http://%s:1/", name);
	fetch(client,
	      (struct http_request_options){
		      .url = url, .timeout_ms = 4000, .connect_timeout_ms = 500 },
	      &outcome);
	assert_int_equal(dns.queries, queries);
	assert_true(outcome.result.err == -ECONNREFUSED || outcome.result.err == -ETIMEDOUT);
	assert_non_null(strstr(outcome.result.error, "connect"));
	http_client_free(client);
	buf_done(&outcome.body);
}

static int setup(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);

	(void)state;
	server_start(&server);
	assert_int_equal(loop_new(&loop), 0);
	dns.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(dns.fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(dns.fd, (struct sockaddr *)&address, &len), 0);
	snprintf(dns.servers, sizeof(dns.servers), "127.0.0.1:%d", ntohs(address.sin_port));
	return loop_add_fd(loop, dns.fd, EPOLLIN, dns_event, NULL);
}

static int teardown(void **state)
{
	(void)state;
	server_stop(&server);
	loop_remove_fd(loop, dns.fd);
	close(dns.fd);
	loop_free(loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_refreshed_name),
		cmocka_unit_test(test_hosts_file),
		cmocka_unit_test(test_no_threads),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
