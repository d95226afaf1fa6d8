// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel answers by taskstats, as bytes: the struct differs between kernels, and
 * whoever compares has its layout from the dump.
 *
 *	taskstats pid|tgid NUMBER...		a line "pid NUMBER HEX" for each
 */
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/taskstats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct message {
	struct nlmsghdr head;
	struct genlmsghdr generic;
	char room[4096];
} message;

static struct nlattr *next(struct nlattr *at)
{
	return (void *)((char *)at + NLA_ALIGN(at->nla_len));
}

/* Send one request with one attribute; the attributes of the answer begin at message.room. */
static int ask(int fd, int family, int command, int type, const void *value, int bytes)
{
	struct nlattr *attribute = (void *)message.room;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	memset(&message, 0, sizeof(message));
	attribute->nla_type = type;
	attribute->nla_len = NLA_HDRLEN + bytes;
	memcpy(attribute + 1, value, bytes);
	message.head.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN) + NLA_ALIGN(attribute->nla_len);
	message.head.nlmsg_type = family;
	message.head.nlmsg_flags = NLM_F_REQUEST;
	message.generic.cmd = command;
	message.generic.version = 1;
	if (sendto(fd, &message, message.head.nlmsg_len, 0, (void *)&kernel, sizeof(kernel)) < 0)
		return -1;
	if (recv(fd, &message, sizeof(message), 0) < 0 || message.head.nlmsg_type == NLMSG_ERROR)
		return -1;
	return 0;
}

static struct nlattr *attribute(struct nlattr *from, char *end, int type)
{
	for (; (char *)from < end && from->nla_len; from = next(from))
		if ((from->nla_type & NLA_TYPE_MASK) == type)
			return from;
	return NULL;
}

static char *end_of_message(void)
{
	return (char *)&message + message.head.nlmsg_len;
}

static void tell(int fd, int family, const char *what, const char *number)
{
	int process = !strcmp(what, "tgid");
	unsigned int id = atoi(number);
	struct nlattr *both, *stats;

	if (ask(fd, family, TASKSTATS_CMD_GET,
		process ? TASKSTATS_CMD_ATTR_TGID : TASKSTATS_CMD_ATTR_PID, &id, sizeof(id)))
		return;
	both = attribute((void *)message.room, end_of_message(),
			 process ? TASKSTATS_TYPE_AGGR_TGID : TASKSTATS_TYPE_AGGR_PID);
	if (!both)
		return;
	stats = attribute(both + 1, (char *)both + both->nla_len, TASKSTATS_TYPE_STATS);
	if (!stats)
		return;
	printf("%s %u ", what, id);
	for (int i = 0; i < stats->nla_len - NLA_HDRLEN; i++)
		printf("%02x", ((unsigned char *)(stats + 1))[i]);
	printf("\n");
}

int main(int argc, char **argv)
{
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC);
	struct nlattr *family;
	int number;

	if (fd < 0 || argc < 3 ||
	    ask(fd, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME,
		TASKSTATS_GENL_NAME, sizeof(TASKSTATS_GENL_NAME))) {
		perror("taskstats");
		return 1;
	}
	family = attribute((void *)message.room, end_of_message(), CTRL_ATTR_FAMILY_ID);
	if (!family)
		return 1;
	number = *(unsigned short *)(family + 1);
	for (int i = 2; i < argc; i++)
		tell(fd, number, argv[1], argv[i]);
	return 0;
}
