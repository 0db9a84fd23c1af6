/*
 * res_pjsip_recovery: continue the SIP dialog of a server that died
 *
 * SPDX-License-Identifier: GPL-2.0-only
 *
 * This program is free software, distributed under the terms of
 * the GNU General Public License Version 2. See the LICENSE file
 * at the top of the source tree.
 */

/*** MODULEINFO
	<depend>pjproject</depend>
	<depend>res_pjsip</depend>
	<depend>res_pjsip_session</depend>
	<depend>res_stasis</depend>
	<depend>res_stasis_playback</depend>
	<support_level>extended</support_level>
 ***/

/*!
 * \file
 * \brief Continue the SIP dialog of a server that died
 *
 * A channel that carries PJSIP_RECOVERY_* variables sends no new INVITE. Its fresh dialog takes
 * over the identity that the variables describe (Call-ID, tags, URIs, CSeq, route set, remote
 * target), and its INVITE leaves as a re-INVITE in that dialog, so that the phone takes this
 * server for the one that died. The variables are described in the README beside this file.
 *
 * How it works. A session supplement sees each initial INVITE just before it is sent. When the
 * channel has recovery variables, the module checks all of them, and only then
 *  - registers the dialog under its real identity with pjsip's user agent layer, so that requests
 *    and responses of the phone find it;
 *  - puts the dialog into the established and the INVITE session into the confirmed state, so
 *    that pjsip and Asterisk treat the INVITE as a re-INVITE: no answer changes tags or routes;
 *  - adds a dialog usage of its own in front of pjsip's INVITE usage, which sees every answer and
 *    time-out first and decides how a failed recovery ends;
 *  - writes the identity into the message.
 * Any fault found before that refuses the channel: nothing is sent, never a new call.
 *
 * The answered channel waits in the context pjsip-recovery for its controller, or goes back by
 * itself to what it was doing, when PJSIP_RECOVERY_FLOW says what that was: its Stasis application,
 * bridge and playback.
 *
 * Threads and locks.
 *  - The supplement runs on the session's serializer with neither dialog nor channel locked.
 *  - Usage callbacks run with the dialog locked: on the serializer for messages, on pjsip's
 *    timer thread for time-outs. They note what happened and leave the rest to a task.
 *  - session->channel is read on the serializer only, where nothing else can clear it.
 *  - Order: dialog, then adopt_lock, then pjsip's user agent lock; dialog before channel, which
 *    is the stock order. ast_sip_session_terminate() is never called with the dialog locked.
 *  - A flow is put back by a thread of a pool, which holds no lock while it waits for the channel.
 *    The frame hook that starts it runs with the channel locked, and only pushes.
 *  - From other threads (CLI, dialplan functions, channel destruction), pjsip is reached only
 *    through ast_sip_push_task().
 *  - struct recovery is an ao2 object, held until pjsip destroys the dialog, by a datastore on
 *    the channel, and by each task under way. Its fields are guarded by the dialog lock. It lets
 *    go of the session as soon as the outcome is known, since a session keeps its dialog.
 */

#include "asterisk.h"

#include <pjsip.h>
#include <pjsip_ua.h>
#include <pjmedia/sdp.h>
#include <pjmedia/sdp_neg.h>
#include <pjlib.h>

#include "asterisk/astobj2.h"
#include "asterisk/causes.h"
#include "asterisk/channel.h"
#include "asterisk/cli.h"
#include "asterisk/datastore.h"
#include "asterisk/framehook.h"
#include "asterisk/json.h"
#include "asterisk/module.h"
#include "asterisk/pbx.h"
#include "asterisk/res_pjsip.h"
#include "asterisk/res_pjsip_session.h"
#include "asterisk/stasis_app.h"
#include "asterisk/stasis_app_impl.h"
#include "asterisk/stasis_app_playback.h"
#include "asterisk/stasis_channels.h"
#include "asterisk/strings.h"
#include "asterisk/stream.h"
#include "asterisk/taskprocessor.h"
#include "asterisk/threadpool.h"

/*! The contract between the variables and their writer; also the global PJSIP_RECOVERY_VERSION. */
#define CONTRACT_VERSION "4"

#define VARIABLE_PREFIX "PJSIP_RECOVERY_"
#define RESULT_VARIABLE VARIABLE_PREFIX "RESULT"
#define VERSION_VARIABLE VARIABLE_PREFIX "VERSION"
#define FLOW "FLOW"
#define FLOW_VARIABLE VARIABLE_PREFIX FLOW
#define FLOW_RESULT_VARIABLE VARIABLE_PREFIX "FLOW_RESULT"

/*! Own requests that a recovered dialog must still be able to count (pjsip counts in an int32). */
#define CSEQ_HEADROOM 1024
#define CSEQ_MAX (0x7fffffffU - CSEQ_HEADROOM)

#define ROUTES_MAX 70

/*! Where a recovered channel goes when it is answered: the extension app-NAME for each Stasis name */
#define WAITING_CONTEXT "pjsip-recovery"
#define WAITING_EXTENSION "_app-."
#define WAITING_APPLICATION "PJSIPRecovered"
/*! How long a call waits for a controller, which may have died: in silence, so not for ever */
#define WAITING_MS 120000
#define WAITING_STEP_MS 100
#define WAITING_LONGEST_STEP_MS 1000

/*! Flows that are put back at a time: each waits for its channel, which its host may keep busy */
#define FLOW_THREADS_MAX 256
#define FLOW_THREAD_IDLE_S 10

enum variable_id {
	VAR_FROM_DISPLAY,
	VAR_FROM_URI,
	VAR_FROM_TAG,
	VAR_TO_DISPLAY,
	VAR_TO_URI,
	VAR_TO_TAG,
	VAR_CALL_ID,
	VAR_CSEQ,
	VAR_REQUEST_URI,
	VAR_ROUTES,
	VAR_RECORD_ROUTES,
	VAR_REMOTE_CSEQ,
	VAR_SDP_ORIGIN,
	VAR_SDP_MEDIA,
	VAR_METHOD,
	VAR_ON_FAILURE,
	VAR_COUNT,
};

enum presence {
	OPTIONAL,
	MUST_BE_SET,
	MUST_HAVE_VALUE,
};

static const struct {
	/*! Name without the common prefix */
	const char *name;
	enum presence presence;
} variables[VAR_COUNT] = {
	[VAR_FROM_DISPLAY] = { "FROM_DISPLAY", OPTIONAL },
	[VAR_FROM_URI] = { "FROM_URI", MUST_HAVE_VALUE },
	[VAR_FROM_TAG] = { "FROM_TAG", MUST_HAVE_VALUE },
	[VAR_TO_DISPLAY] = { "TO_DISPLAY", OPTIONAL },
	[VAR_TO_URI] = { "TO_URI", MUST_HAVE_VALUE },
	[VAR_TO_TAG] = { "TO_TAG", MUST_HAVE_VALUE },
	[VAR_CALL_ID] = { "CALL-ID", MUST_HAVE_VALUE },
	[VAR_CSEQ] = { "CSEQ", MUST_HAVE_VALUE },
	[VAR_REQUEST_URI] = { "REQUEST_URI", MUST_HAVE_VALUE },
	[VAR_ROUTES] = { "ROUTES", MUST_BE_SET },
	/* For the record only: a Record-Route in a request of ours would make the peer loop. */
	[VAR_RECORD_ROUTES] = { "RECORD-ROUTES", OPTIONAL },
	[VAR_REMOTE_CSEQ] = { "REMOTE_CSEQ", OPTIONAL },
	[VAR_SDP_ORIGIN] = { "SDP_ORIGIN", OPTIONAL },
	[VAR_SDP_MEDIA] = { "SDP_MEDIA", OPTIONAL },
	[VAR_METHOD] = { "METHOD", OPTIONAL },
	[VAR_ON_FAILURE] = { "ON_FAILURE", OPTIONAL },
};

/*! One m-line of the session that is continued */
struct planned_media {
	pj_str_t type;
	pj_str_t transport;
	pj_str_t format;
	int live;
};

/*! All that the variables of one channel ask for, checked. Lives in the dialog's pool. */
struct plan {
	pj_str_t value[VAR_COUNT];
	pjsip_fromto_hdr *local;
	pjsip_fromto_hdr *remote;
	pjsip_uri *target;
	pjsip_route_hdr routes;
	pj_uint32_t cseq;
	/*! Highest CSeq seen of the peer, or -1 when not given */
	pj_int32_t remote_cseq;
	int has_origin;
	pj_str_t origin_user;
	pj_uint32_t origin_id;
	pj_uint32_t origin_version;
	pj_str_t origin_address_type;
	pj_str_t origin_address;
	unsigned media_count;
	struct planned_media media[PJMEDIA_MAX_SDP_MEDIA];
	/*! Send BYE instead of INVITE */
	int bye;
	/*! Leave the dialog alone when the INVITE fails, so that it can be tried again */
	int keep;
	/*! Why the channel is refused */
	char refusal[160];
};

/*! Where the end of a transaction came from */
enum origin {
	ORIGIN_LOCAL,
	ORIGIN_RECEIVED,
	ORIGIN_TIMEOUT,
	ORIGIN_TRANSPORT,
};

static const char * const origin_names[] = { "local", "received", "timeout", "transport" };

/*! How a transaction of the recovery ended */
struct ending {
	int status;
	enum origin origin;
	int retry_after;
	char to_tag[128];
	char reason[128];
};

/*! A dialog that this module took over, from then until pjsip destroys the dialog */
struct recovery {
	/*! Held until the recovery is decided; a session keeps its dialog alive */
	struct ast_sip_session *session;
	pjsip_dialog *dlg;
	/*! What was asked for; lives in the dialog's pool */
	const struct plan *plan;
	/*! How pjsip prints a body that is an SDP structure; NULL until one was made */
	int (*print_sdp)(struct pjsip_msg_body *body, char *buffer, pj_size_t size);
	/*! The transaction under way, NULL when none was sent yet */
	pjsip_transaction *tsx;
	/*! Requests sent so far, retries after a challenge included */
	unsigned int attempts;
	/*! The outcome is known; events are none of our business any more */
	unsigned int decided:1;
	/*! The peer answered with another To tag: it took the INVITE for a new call */
	unsigned int foreign:1;
	char *remote_tag;
	/*! Call-ID and local tag: the key in the index */
	char key[0];
};

/*! What a task on the session's serializer works on */
struct task {
	struct recovery *recovery;
	struct ast_sip_session *session;
	/*! Requests sent when the task was pushed */
	unsigned int attempts;
	struct ending ending;
};

/*! Held while looking for a dialog and registering it, so that two channels cannot both win */
AST_MUTEX_DEFINE_STATIC(adopt_lock);

/*! Every struct recovery whose dialog exists */
static struct ao2_container *recoveries;

/*! What the CLI shows; increments are atomic, reads are not exact */
static struct {
	int adopted;
	int answered;
	int kept;
	int ended;
	int gone;
	int refused;
	int released;
	int flows;
} counters;

#define COUNT(what) ast_atomic_fetchadd_int(&counters.what, 1)

/*!
 * Stands for a pending INVITE in inv->invite_tsx while an INVITE must not leave:
 * pjsip_inv_send_msg() refuses a second one and frees the message.
 */
static pjsip_transaction not_sent;

static void on_tsx_state(pjsip_transaction *tsx, pjsip_event *event);
static pj_bool_t on_rx_response(pjsip_rx_data *rdata);

/*!
 * In the endpoint, its on_rx_response runs just before the transaction layer and after the
 * distributor, which is how a foreign answer can be kept from the transaction. In a dialog, it
 * is a usage whose priority puts it in front of the INVITE usage.
 */
static pjsip_module recovery_module = {
	.name = { "Recovery Module", 15 },
	.id = -1,
	.priority = PJSIP_MOD_PRIORITY_TSX_LAYER - 1,
	.on_rx_response = on_rx_response,
	.on_tsx_state = on_tsx_state,
};

/* -- Index ------------------------------------------------------------------------------------ */

static int recovery_hash(const void *object, int flags)
{
	const char *key = (flags & OBJ_SEARCH_KEY) ? object : ((const struct recovery *) object)->key;

	return ast_str_hash(key);
}

static int recovery_compare(void *object, void *argument, int flags)
{
	const struct recovery *recovery = object;
	const char *key = (flags & OBJ_SEARCH_KEY) ? argument
		: ((const struct recovery *) argument)->key;

	return strcmp(recovery->key, key) ? 0 : CMP_MATCH;
}

static void recovery_destroy(void *object)
{
	struct recovery *recovery = object;

	ao2_cleanup(recovery->session);
	ast_free(recovery->remote_tag);
	ast_module_unref(AST_MODULE_SELF);
}

static size_t key_size(const pj_str_t *call_id, const pj_str_t *local_tag)
{
	return call_id->slen + local_tag->slen + 2;
}

static void make_key(char *key, const pj_str_t *call_id, const pj_str_t *local_tag)
{
	/* A Call-ID that passed the check has no space, so the two parts cannot run together. */
	sprintf(key, "%.*s %.*s", (int) call_id->slen, call_id->ptr, (int) local_tag->slen,
		local_tag->ptr);
}

static struct recovery *recovery_find(const pj_str_t *call_id, const pj_str_t *local_tag)
{
	char *key;

	if (!ao2_container_count(recoveries) || key_size(call_id, local_tag) > 2048) {
		return NULL;
	}
	key = ast_alloca(key_size(call_id, local_tag));
	make_key(key, call_id, local_tag);
	return ao2_find(recoveries, key, OBJ_SEARCH_KEY);
}

/*! The group lock of the dialog is destroyed: the dialog is gone for good. */
static void on_dialog_destroyed(void *object)
{
	struct recovery *recovery = object;

	ao2_unlink(recoveries, recovery);
	ao2_ref(recovery, -1);
}

static struct recovery *recovery_alloc(struct ast_sip_session *session, const struct plan *plan)
{
	const pj_str_t *call_id = &plan->value[VAR_CALL_ID];
	struct recovery *recovery;

	recovery = ao2_alloc(sizeof(*recovery) + key_size(call_id, &plan->local->tag),
		recovery_destroy);
	if (!recovery) {
		return NULL;
	}
	ast_module_ref(AST_MODULE_SELF);
	recovery->session = ao2_bump(session);
	recovery->dlg = session->inv_session->dlg;
	recovery->plan = plan;
	make_key(recovery->key, call_id, &plan->local->tag);
	recovery->remote_tag = ast_strndup(plan->remote->tag.ptr, plan->remote->tag.slen);
	if (!recovery->remote_tag) {
		ao2_ref(recovery, -1);
		return NULL;
	}
	return recovery;
}

/* -- Result ----------------------------------------------------------------------------------- */

/*! Sets the result variable. On the serializer only. */
static void set_result(struct ast_sip_session *session, const char *outcome,
	const struct ending *ending)
{
	char text[512];

	if (!session->channel) {
		return;
	}
	snprintf(text, sizeof(text),
		"outcome=%s;status=%d;origin=%s;retry_after=%d;to_tag=%s;reason=%s", outcome,
		ending->status, origin_names[ending->origin], ending->retry_after, ending->to_tag,
		ending->reason);
	pbx_builtin_setvar_helper(session->channel, RESULT_VARIABLE, text);
}

static void set_cause(struct ast_sip_session *session, int cause, int status)
{
	if (!session->channel) {
		return;
	}
	ast_channel_lock(session->channel);
	ast_channel_hangupcause_set(session->channel, cause);
	if (status) {
		ast_channel_tech_hangupcause_set(session->channel, status);
	}
	ast_channel_unlock(session->channel);
}

/*! Copies text from the wire, without what would break the form of the result. */
static void copy_wire_text(char *out, size_t size, const pj_str_t *text)
{
	size_t length = MIN((size_t) MAX(text->slen, 0), size - 1);
	size_t i;

	for (i = 0; i < length; ++i) {
		unsigned char c = text->ptr[i];

		out[i] = (c < ' ' || c == 0x7f || c == ';') ? '_' : c;
	}
	out[length] = '\0';
}

static void describe_ending(struct ending *ending, pjsip_transaction *tsx, pjsip_event *event)
{
	pjsip_msg *msg;
	pjsip_retry_after_hdr *retry_after;

	memset(ending, 0, sizeof(*ending));
	ending->status = tsx->status_code;
	copy_wire_text(ending->reason, sizeof(ending->reason), &tsx->status_text);
	switch (event->body.tsx_state.type) {
	case PJSIP_EVENT_RX_MSG:
		ending->origin = ORIGIN_RECEIVED;
		break;
	case PJSIP_EVENT_TIMER:
		ending->origin = ORIGIN_TIMEOUT;
		return;
	case PJSIP_EVENT_TRANSPORT_ERROR:
		ending->origin = ORIGIN_TRANSPORT;
		return;
	default:
		ending->origin = ORIGIN_LOCAL;
		return;
	}
	msg = event->body.tsx_state.src.rdata->msg_info.msg;
	copy_wire_text(ending->to_tag, sizeof(ending->to_tag),
		&event->body.tsx_state.src.rdata->msg_info.to->tag);
	retry_after = pjsip_msg_find_hdr(msg, PJSIP_H_RETRY_AFTER, NULL);
	if (retry_after) {
		ending->retry_after = retry_after->ivalue;
	}
}

/* -- Reading and checking the variables ------------------------------------------------------- */

static int refuse(struct plan *plan, enum variable_id id, const char *why)
{
	snprintf(plan->refusal, sizeof(plan->refusal), VARIABLE_PREFIX "%s %s", variables[id].name,
		why);
	return -1;
}

/*!
 * Copies the channel's own recovery variables. pbx_builtin_getvar_helper() would fall back to
 * globals, and one stray global would then rewrite every call.
 *
 * \return how many there are
 */
static int read_variables(struct ast_channel *chan, pj_pool_t *pool, struct plan *plan)
{
	const size_t prefix_length = strlen(VARIABLE_PREFIX);
	struct ast_var_t *variable;
	int found = 0;

	ast_channel_lock(chan);
	AST_LIST_TRAVERSE(ast_channel_varshead(chan), variable, entries) {
		const char *name = ast_var_name(variable);
		int id;

		if (strncmp(name, VARIABLE_PREFIX, prefix_length)) {
			continue;
		}
		for (id = 0; id < VAR_COUNT; ++id) {
			/* The newest assignment of a name stands first. */
			if (!strcmp(name + prefix_length, variables[id].name) && !plan->value[id].ptr) {
				pj_strdup2_with_null(pool, &plan->value[id], ast_var_value(variable));
				++found;
			}
		}
	}
	ast_channel_unlock(chan);
	return found;
}

/*! Every variable that must be there is, and none holds a character that no header could. */
static int check_presence(struct plan *plan)
{
	int id;

	for (id = 0; id < VAR_COUNT; ++id) {
		const pj_str_t *value = &plan->value[id];
		pj_ssize_t i;

		if (!value->ptr) {
			if (variables[id].presence != OPTIONAL) {
				return refuse(plan, id, "is missing");
			}
			continue;
		}
		if (!value->slen && variables[id].presence == MUST_HAVE_VALUE) {
			return refuse(plan, id, "is empty");
		}
		for (i = 0; i < value->slen; ++i) {
			unsigned char c = value->ptr[i];

			if (c < ' ' || c == 0x7f) {
				return refuse(plan, id, "has a control character");
			}
		}
	}
	return 0;
}

/*! Decimal digits only, so that neither a sign nor a space nor an overflow passes. */
static int parse_number(const pj_str_t *text, pj_uint32_t max, pj_uint32_t *number)
{
	pj_uint64_t value = 0;
	pj_ssize_t i;

	if (text->slen < 1 || text->slen > 10) {
		return -1;
	}
	for (i = 0; i < text->slen; ++i) {
		if (text->ptr[i] < '0' || text->ptr[i] > '9') {
			return -1;
		}
		value = value * 10 + (text->ptr[i] - '0');
	}
	if (value > max) {
		return -1;
	}
	*number = (pj_uint32_t) value;
	return 0;
}

static int parse_cseqs(struct plan *plan)
{
	pj_uint32_t number;

	if (parse_number(&plan->value[VAR_CSEQ], CSEQ_MAX, &plan->cseq) || !plan->cseq) {
		return refuse(plan, VAR_CSEQ, "is no number from 1 to 2147482623");
	}
	plan->remote_cseq = -1;
	if (plan->value[VAR_REMOTE_CSEQ].slen) {
		if (parse_number(&plan->value[VAR_REMOTE_CSEQ], 0x7fffffffU, &number)) {
			return refuse(plan, VAR_REMOTE_CSEQ, "is no number up to 2147483647");
		}
		plan->remote_cseq = (pj_int32_t) number;
	}
	return 0;
}

/*! Without white space and the characters that end a header parameter. */
static int check_word(struct plan *plan, enum variable_id id, const char *forbidden)
{
	const pj_str_t *value = &plan->value[id];
	pj_ssize_t i;

	for (i = 0; i < value->slen; ++i) {
		if (value->ptr[i] == ' ' || strchr(forbidden, value->ptr[i])) {
			return refuse(plan, id, "has a character that cannot stand there");
		}
	}
	return 0;
}

/*! Parses a bare URI; a name-addr with its brackets is none. */
static pjsip_uri *parse_uri(pj_pool_t *pool, struct plan *plan, enum variable_id id)
{
	pj_str_t copy;
	pjsip_uri *uri;

	if (plan->value[id].slen > PJSIP_MAX_URL_SIZE) {
		refuse(plan, id, "is too long");
		return NULL;
	}
	/* The parser may write to its input. */
	pj_strdup_with_null(pool, &copy, &plan->value[id]);
	uri = pjsip_parse_uri(pool, copy.ptr, copy.slen, 0);
	if (!uri || pjsip_uri_get_uri(uri) != uri) {
		refuse(plan, id, "is no URI");
		return NULL;
	}
	if (PJSIP_URI_SCHEME_IS_SIP(uri) || PJSIP_URI_SCHEME_IS_SIPS(uri)) {
		if (!((pjsip_sip_uri *) uri)->host.slen) {
			refuse(plan, id, "has no host");
			return NULL;
		}
	} else if (!PJSIP_URI_SCHEME_IS_TEL(uri)) {
		refuse(plan, id, "is neither sip: nor sips: nor tel:");
		return NULL;
	}
	return uri;
}

/*! pjsip prints a display name between quotes as it is, so it must be escaped beforehand. */
static void set_display(pj_pool_t *pool, pjsip_name_addr *address, const pj_str_t *display)
{
	char *out;
	pj_ssize_t i;

	if (!display->slen) {
		return;
	}
	out = pj_pool_alloc(pool, display->slen * 2);
	address->display.ptr = out;
	for (i = 0; i < display->slen; ++i) {
		if (display->ptr[i] == '"' || display->ptr[i] == '\\') {
			*out++ = '\\';
		}
		*out++ = display->ptr[i];
	}
	address->display.slen = out - address->display.ptr;
}

static pjsip_fromto_hdr *parse_party(pj_pool_t *pool, struct plan *plan,
	enum variable_id display, enum variable_id uri_id, enum variable_id tag,
	pjsip_fromto_hdr *header)
{
	pjsip_uri *uri = parse_uri(pool, plan, uri_id);
	pjsip_name_addr *address;

	if (!uri || check_word(plan, tag, ";,\"<>@")) {
		return NULL;
	}
	address = pjsip_name_addr_create(pool);
	address->uri = uri;
	set_display(pool, address, &plan->value[display]);
	header->uri = (pjsip_uri *) address;
	header->tag = plan->value[tag];
	return header;
}

static int parse_routes(pj_pool_t *pool, struct plan *plan)
{
	static const pj_str_t name = { "Route", 5 };
	pj_str_t copy;
	pjsip_route_hdr *first;
	pjsip_route_hdr *route;
	pjsip_route_hdr *next;
	int count = 0;

	pj_list_init(&plan->routes);
	if (!plan->value[VAR_ROUTES].slen) {
		return 0;
	}
	pj_strdup_with_null(pool, &copy, &plan->value[VAR_ROUTES]);
	first = pjsip_parse_hdr(pool, &name, copy.ptr, copy.slen, NULL);
	if (!first) {
		return refuse(plan, VAR_ROUTES, "is no list of routes");
	}
	route = first;
	do {
		pjsip_uri *uri = pjsip_uri_get_uri(&route->name_addr);

		next = route->next;
		if (!uri || !(PJSIP_URI_SCHEME_IS_SIP(uri) || PJSIP_URI_SCHEME_IS_SIPS(uri))
			|| !((pjsip_sip_uri *) uri)->host.slen) {
			return refuse(plan, VAR_ROUTES, "has an entry that is no SIP URI");
		}
		if (++count > ROUTES_MAX) {
			return refuse(plan, VAR_ROUTES, "has more than 70 routes");
		}
		pj_list_push_back(&plan->routes, pjsip_hdr_clone(pool, route));
		route = next;
	} while (route != first);
	return 0;
}

/*! Cuts the next word, up to the separator, off text. */
static pj_str_t cut_word(pj_str_t *text, char separator)
{
	pj_str_t word = *text;
	char *end = pj_strchr(text, separator);

	if (!end) {
		text->slen = 0;
		return word;
	}
	word.slen = end - text->ptr;
	text->slen -= word.slen + 1;
	text->ptr = end + 1;
	return word;
}

/*! The value of the o= line that was sent last: user id version IN type address */
static int parse_sdp_origin(struct plan *plan)
{
	pj_str_t rest = plan->value[VAR_SDP_ORIGIN];
	pj_str_t id;
	pj_str_t version;
	pj_str_t network;

	if (!rest.slen) {
		return 0;
	}
	plan->origin_user = cut_word(&rest, ' ');
	id = cut_word(&rest, ' ');
	version = cut_word(&rest, ' ');
	network = cut_word(&rest, ' ');
	plan->origin_address_type = cut_word(&rest, ' ');
	plan->origin_address = cut_word(&rest, ' ');
	if (rest.slen || !plan->origin_user.slen || !plan->origin_address.slen
		|| parse_number(&id, 0xffffffffU, &plan->origin_id)
		|| parse_number(&version, 0xfffffffeU, &plan->origin_version)
		|| pj_strcmp2(&network, "IN") || (pj_strcmp2(&plan->origin_address_type, "IP4")
			&& pj_strcmp2(&plan->origin_address_type, "IP6"))) {
		return refuse(plan, VAR_SDP_ORIGIN, "is no origin line");
	}
	plan->has_origin = 1;
	return 0;
}

/*! The values of the m-lines that were sent last, in order, between commas */
static int parse_sdp_media(struct plan *plan)
{
	pj_str_t rest = plan->value[VAR_SDP_MEDIA];

	while (rest.slen) {
		pj_str_t line = cut_word(&rest, ',');
		struct planned_media *media = &plan->media[plan->media_count];
		pj_str_t port_text;
		pj_uint32_t port;

		if (plan->media_count == PJMEDIA_MAX_SDP_MEDIA) {
			return refuse(plan, VAR_SDP_MEDIA, "has too many lines");
		}
		pj_strtrim(&line);
		media->type = cut_word(&line, ' ');
		port_text = cut_word(&line, ' ');
		port_text = cut_word(&port_text, '/');
		media->transport = cut_word(&line, ' ');
		media->format = cut_word(&line, ' ');
		if (!media->type.slen || !media->transport.slen || !media->format.slen
			|| parse_number(&port_text, 65535, &port)) {
			return refuse(plan, VAR_SDP_MEDIA, "has an entry that is no media line");
		}
		media->live = port != 0;
		++plan->media_count;
	}
	return 0;
}

static int parse_choices(struct plan *plan)
{
	const pj_str_t *method = &plan->value[VAR_METHOD];
	const pj_str_t *on_failure = &plan->value[VAR_ON_FAILURE];

	if (method->slen) {
		plan->bye = !pj_strcmp2(method, "BYE");
		if (!plan->bye && pj_strcmp2(method, "INVITE")) {
			return refuse(plan, VAR_METHOD, "is neither INVITE nor BYE");
		}
	}
	if (on_failure->slen) {
		plan->keep = !pj_strcmp2(on_failure, "keep");
		if (!plan->keep && pj_strcmp2(on_failure, "bye")) {
			return refuse(plan, VAR_ON_FAILURE, "is neither keep nor bye");
		}
	}
	return 0;
}

static int parse_plan(pj_pool_t *pool, struct plan *plan)
{
	if (check_presence(plan) || parse_cseqs(plan) || parse_choices(plan)
		|| check_word(plan, VAR_CALL_ID, ",;")) {
		return -1;
	}
	plan->local = parse_party(pool, plan, VAR_FROM_DISPLAY, VAR_FROM_URI, VAR_FROM_TAG,
		pjsip_from_hdr_create(pool));
	if (!plan->local) {
		return -1;
	}
	plan->remote = parse_party(pool, plan, VAR_TO_DISPLAY, VAR_TO_URI, VAR_TO_TAG,
		pjsip_to_hdr_create(pool));
	if (!plan->remote) {
		return -1;
	}
	plan->target = parse_uri(pool, plan, VAR_REQUEST_URI);
	if (!plan->target || parse_routes(pool, plan) || parse_sdp_origin(plan)
		|| parse_sdp_media(plan)) {
		return -1;
	}
	/* Asterisk would not notice that pjsip has nowhere to send a tel: target to. */
	if (PJSIP_URI_SCHEME_IS_TEL(plan->target) && pj_list_empty(&plan->routes)) {
		return refuse(plan, VAR_REQUEST_URI, "is a tel: URI and there is no route");
	}
	return 0;
}

/* -- Taking over the dialog ------------------------------------------------------------------- */

static void set_info_text(pjsip_dialog *dlg, pj_str_t *text, const pjsip_fromto_hdr *info)
{
	char buffer[PJSIP_MAX_URL_SIZE * 2];
	int length = pjsip_uri_print(PJSIP_URI_IN_FROMTO_HDR, info->uri, buffer, sizeof(buffer));
	pj_str_t printed = { buffer, MAX(length, 0) };

	pj_strdup(dlg->pool, text, &printed);
}

/*!
 * Gives the dialog its identity and its place in the user agent layer's table, which is keyed by
 * the local tag: taken out under the old tag, put in under the new one. Dialog locked.
 *
 * \retval 0 done; \retval -1 that dialog lives here already, and nothing was changed
 */
static int register_identity(pjsip_dialog *dlg, const struct plan *plan)
{
	pjsip_user_agent *ua = pjsip_ua_instance();

	ast_mutex_lock(&adopt_lock);
	if (pjsip_ua_find_dialog(&plan->value[VAR_CALL_ID], &plan->local->tag, &plan->remote->tag,
		PJ_FALSE) || pjsip_ua_unregister_dlg(ua, dlg) != PJ_SUCCESS) {
		ast_mutex_unlock(&adopt_lock);
		return -1;
	}
	dlg->call_id->id = plan->value[VAR_CALL_ID];
	dlg->local.info = plan->local;
	dlg->local.tag_hval = pj_hash_calc_tolower(0, NULL, &plan->local->tag);
	dlg->remote.info = plan->remote;
	dlg->remote.tag_hval = pj_hash_calc_tolower(0, NULL, &plan->remote->tag);
	pjsip_ua_register_dlg(ua, dlg);
	ast_mutex_unlock(&adopt_lock);

	set_info_text(dlg, &dlg->local.info_str, plan->local);
	set_info_text(dlg, &dlg->remote.info_str, plan->remote);
	return 0;
}

/*! All of the dialog's state beside its identity. Dialog locked. */
static void establish_dialog(pjsip_inv_session *inv, const struct plan *plan)
{
	pjsip_dialog *dlg = inv->dlg;
	pjsip_name_addr *contact_address;

	dlg->local.first_cseq = plan->cseq;
	dlg->local.cseq = plan->cseq;
	dlg->remote.first_cseq = plan->remote_cseq;
	dlg->remote.cseq = plan->remote_cseq;

	contact_address = pjsip_name_addr_create(dlg->pool);
	contact_address->uri = plan->target;
	dlg->remote.contact = pjsip_contact_hdr_create(dlg->pool);
	dlg->remote.contact->uri = (pjsip_uri *) contact_address;
	dlg->target = plan->target;
	dlg->secure = PJSIP_URI_SCHEME_IS_SIPS(plan->target);

	pjsip_dlg_set_route_set(dlg, &plan->routes);
	dlg->route_set_frozen = PJ_TRUE;
	dlg->state = PJSIP_DIALOG_STATE_ESTABLISHED;
	/* From here no answer is the first one, which would set tag, route set and target. */
	dlg->uac_has_2xx = PJ_TRUE;
	inv->state = PJSIP_INV_STATE_CONFIRMED;
}

static void rewrite_message(pjsip_dialog *dlg, pjsip_tx_data *tdata)
{
	pjsip_msg *msg = tdata->msg;
	pjsip_fromto_hdr *from = PJSIP_MSG_FROM_HDR(msg);
	pjsip_fromto_hdr *to = PJSIP_MSG_TO_HDR(msg);
	pjsip_hdr *header;
	const pjsip_route_hdr *route;

	msg->line.req.uri = pjsip_uri_clone(tdata->pool, dlg->target);
	from->uri = pjsip_uri_clone(tdata->pool, dlg->local.info->uri);
	pj_strdup(tdata->pool, &from->tag, &dlg->local.info->tag);
	pj_list_init(&from->other_param);
	to->uri = pjsip_uri_clone(tdata->pool, dlg->remote.info->uri);
	pj_strdup(tdata->pool, &to->tag, &dlg->remote.info->tag);
	pj_list_init(&to->other_param);
	pj_strdup(tdata->pool, &PJSIP_MSG_CID_HDR(msg)->id, &dlg->call_id->id);

	while ((header = pjsip_msg_find_hdr(msg, PJSIP_H_ROUTE, NULL))) {
		pj_list_erase(header);
	}
	for (route = dlg->route_set.next; route != &dlg->route_set; route = route->next) {
		pjsip_msg_add_hdr(msg, pjsip_hdr_clone(tdata->pool, route));
	}
	pjsip_tx_data_invalidate_msg(tdata);
}

/* -- Continuing the SDP ----------------------------------------------------------------------- */

/*! An m-line that is not used any more but keeps its place */
static pjmedia_sdp_media *dead_media(pj_pool_t *pool, const struct planned_media *planned)
{
	pjmedia_sdp_media *media = PJ_POOL_ZALLOC_T(pool, pjmedia_sdp_media);

	media->desc.media = planned->type;
	media->desc.port_count = 1;
	media->desc.transport = planned->transport;
	media->desc.fmt_count = 1;
	media->desc.fmt[0] = planned->format;
	return media;
}

/*! The first m-line of a type that has no place yet, or -1 */
static int find_own_media(const pjmedia_sdp_session *sdp, const int *used, const pj_str_t *type)
{
	unsigned i;

	for (i = 0; i < sdp->media_count; ++i) {
		if (!used[i] && !pj_strcmp(&sdp->media[i]->desc.media, type)) {
			return i;
		}
	}
	return -1;
}

/*! Appends a stream that keeps the place of a dead m-line. */
static int append_dead_stream(struct ast_sip_session *session,
	struct ast_sip_session_media_state *state, const struct planned_media *planned, int position)
{
	char type_name[32];
	enum ast_media_type type;
	struct ast_stream *stream;

	ast_copy_pj_str(type_name, &planned->type, sizeof(type_name));
	type = ast_media_type_from_str(type_name);
	stream = ast_stream_alloc(type_name, type);
	if (!stream) {
		return -1;
	}
	ast_stream_set_state(stream, AST_STREAM_STATE_REMOVED);
	if (ast_stream_topology_append_stream(state->topology, stream) < 0) {
		ast_stream_free(stream);
		return -1;
	}
	return ast_sip_session_media_state_add(session, state, type, position) ? 0 : -1;
}

/*! Appends one of the session's own streams, with its RTP, at another position. */
static int append_own_stream(struct ast_sip_session *session,
	struct ast_sip_session_media_state *state, int own, int position)
{
	struct ast_sip_session_media_state *old = session->pending_media_state;
	struct ast_sip_session_media *media = AST_VECTOR_GET(&old->sessions, own);
	struct ast_stream *stream;

	stream = ast_stream_clone(ast_stream_topology_get_stream(old->topology, own), NULL);
	if (!stream) {
		return -1;
	}
	if (ast_stream_topology_append_stream(state->topology, stream) < 0) {
		ast_stream_free(stream);
		return -1;
	}
	if (AST_VECTOR_REPLACE(&state->sessions, position, ao2_bump(media))) {
		ao2_ref(media, -1);
		return -1;
	}
	media->stream_num = position;
	if (!state->default_session[media->type]) {
		state->default_session[media->type] = media;
	}
	return 0;
}

/*!
 * Puts the m-lines into the number and order that the peer knows (RFC 3264, section 8): in the
 * SDP, and alike in the session's streams, which Asterisk matches with the m-lines by position.
 */
static int arrange_media(struct ast_sip_session *session, const struct plan *plan,
	pjmedia_sdp_session *sdp)
{
	struct ast_sip_session_media_state *old = session->pending_media_state;
	struct ast_sip_session_media_state *state;
	pjmedia_sdp_media *media[PJMEDIA_MAX_SDP_MEDIA];
	int used[PJMEDIA_MAX_SDP_MEDIA] = { 0, };
	unsigned i;

	if (!old->topology || sdp->media_count != (unsigned) ast_stream_topology_get_count(old->topology)
		|| sdp->media_count != AST_VECTOR_SIZE(&old->sessions)) {
		return -1;
	}
	state = ast_sip_session_media_state_alloc();
	if (!state || !(state->topology = ast_stream_topology_alloc())) {
		ast_sip_session_media_state_free(state);
		return -1;
	}
	for (i = 0; i < plan->media_count; ++i) {
		const struct planned_media *planned = &plan->media[i];
		int own = planned->live ? find_own_media(sdp, used, &planned->type) : -1;
		int failed;

		if (own < 0) {
			media[i] = dead_media(session->inv_session->pool, planned);
			failed = append_dead_stream(session, state, planned, i);
		} else {
			used[own] = 1;
			media[i] = sdp->media[own];
			failed = append_own_stream(session, state, own, i);
		}
		if (failed) {
			ast_sip_session_media_state_free(state);
			return -1;
		}
	}
	memcpy(sdp->media, media, plan->media_count * sizeof(media[0]));
	sdp->media_count = plan->media_count;
	session->pending_media_state = state;
	ast_sip_session_media_state_free(old);
	return 0;
}

static void continue_origin(pjmedia_sdp_session *sdp, const struct plan *plan)
{
	if (!plan->has_origin) {
		return;
	}
	sdp->origin.user = plan->origin_user;
	sdp->origin.id = plan->origin_id;
	sdp->origin.version = plan->origin_version + 1;
	sdp->origin.addr_type = plan->origin_address_type;
	sdp->origin.addr = plan->origin_address;
}

/*! Makes this the offer, in the negotiator and in the message. */
static int replace_offer(struct ast_sip_session *session, pjsip_tx_data *tdata,
	pjmedia_sdp_session *sdp)
{
	pjsip_inv_session *inv = session->inv_session;
	pjmedia_sdp_neg *neg;

	if (pjmedia_sdp_neg_create_w_local_offer(inv->pool, sdp, &neg) != PJ_SUCCESS
		|| pjsip_create_sdp_body(tdata->pool, sdp, &tdata->msg->body) != PJ_SUCCESS) {
		return -1;
	}
	/* As ast_sip_session_create_invite() sets up the one that this replaces. */
	pjmedia_sdp_neg_set_prefer_remote_codec_order(neg, PJ_FALSE);
#ifdef PJMEDIA_SDP_NEG_ANSWER_MULTIPLE_CODECS
	if (!session->endpoint->preferred_codec_only) {
		pjmedia_sdp_neg_set_answer_multiple_codecs(neg, PJ_TRUE);
	}
#endif
	inv->neg = neg;
	pjsip_tx_data_invalidate_msg(tdata);
	return 0;
}

/*! Makes the offer the next one of the session that the peer knows. Dialog locked. */
static int continue_sdp(struct ast_sip_session *session, pjsip_tx_data *tdata,
	const struct plan *plan)
{
	pjsip_inv_session *inv = session->inv_session;
	const pjmedia_sdp_session *offer;
	pjmedia_sdp_session *sdp;

	if (!plan->has_origin && !plan->media_count) {
		return 0;
	}
	if (!inv->neg || pjmedia_sdp_neg_get_neg_local(inv->neg, &offer) != PJ_SUCCESS) {
		return -1;
	}
	sdp = pjmedia_sdp_session_clone(inv->pool, offer);
	continue_origin(sdp, plan);
	if (plan->media_count && arrange_media(session, plan, sdp)) {
		return -1;
	}
	return replace_offer(session, tdata, sdp);
}

/*!
 * After a 491 Asterisk makes a new offer, and since none was ever answered, with a new origin.
 * The streams are those of the first offer. Dialog locked.
 */
static void continue_retried_offer(struct ast_sip_session *session, pjsip_tx_data *tdata,
	const struct plan *plan)
{
	pjsip_inv_session *inv = session->inv_session;
	const pjmedia_sdp_session *offer;
	pjmedia_sdp_session *sdp;

	if (!plan->has_origin || !tdata->msg->body || !inv->neg
		|| pjmedia_sdp_neg_get_neg_local(inv->neg, &offer) != PJ_SUCCESS
		|| offer->origin.id == plan->origin_id) {
		return;
	}
	sdp = pjmedia_sdp_session_clone(inv->pool, offer);
	continue_origin(sdp, plan);
	replace_offer(session, tdata, sdp);
}

/*!
 * Keeps the o= line of a later message what the peer knows. pjsip counts its version on, but
 * Asterisk makes each answer with its own address and owner.
 */
static void keep_origin(const struct recovery *recovery, pjsip_tx_data *tdata)
{
	pjsip_msg_body *body = tdata->msg->body;
	pjmedia_sdp_session *sdp;
	pj_uint32_t version;

	/* The printer tells that this body is made of an SDP structure, a clone for this message. */
	if (!recovery->plan->has_origin || !body || body->print_body != recovery->print_sdp) {
		return;
	}
	sdp = body->data;
	version = sdp->origin.version;
	continue_origin(sdp, recovery->plan);
	sdp->origin.version = version;
	pjsip_tx_data_invalidate_msg(tdata);
}

/* -- How a recovery ends ---------------------------------------------------------------------- */

/*! The outcome is known. Dialog locked. */
static void decide(struct recovery *recovery)
{
	recovery->decided = 1;
	recovery->tsx = NULL;
	/* Never the last reference: the INVITE session holds one until it is disconnected. */
	ao2_cleanup(recovery->session);
	recovery->session = NULL;
}

static struct task *task_alloc(struct recovery *recovery)
{
	struct task *task = ast_calloc(1, sizeof(*task));

	if (task) {
		task->recovery = ao2_bump(recovery);
		task->session = ao2_bump(recovery->session);
		task->attempts = recovery->attempts;
	}
	return task;
}

static void task_free(struct task *task)
{
	ao2_ref(task->recovery, -1);
	ao2_ref(task->session, -1);
	ast_free(task);
}

/*! Pushes a task to the session's serializer; it frees the task. Before decide(). */
static void push_task(struct recovery *recovery, const struct ending *ending,
	int (*function)(void *))
{
	struct task *task = task_alloc(recovery);

	if (!task) {
		return;
	}
	task->ending = *ending;
	if (ast_sip_push_task(task->session->serializer, function, task)) {
		ast_log(LOG_ERROR, "A recovered call could not be ended: no memory for a task\n");
		task_free(task);
	}
}

/*!
 * Takes the INVITE session out of the dialog, so that pjsip's INVITE usage and Asterisk do not
 * see what happens to a transaction, or puts it back. Dialog locked.
 */
static void hide_session(pjsip_inv_session *inv)
{
	inv->dlg->mod_data[pjsip_inv_usage_instance()->id] = NULL;
}

static void show_session(pjsip_inv_session *inv)
{
	inv->dlg->mod_data[pjsip_inv_usage_instance()->id] = inv;
}

/*!
 * Takes the dialog out of its place in the user agent layer's table. pjsip keeps a dialog until
 * the last of its transactions has run out, up to 32 s; meanwhile its identity would refuse the
 * next recovery on this server and answer requests that are none of our business. Dialog locked.
 */
static void abandon_identity(pjsip_dialog *dlg)
{
	struct recovery *recovery = dlg->mod_data[recovery_module.id];
	pjsip_fromto_hdr *nobody = pjsip_hdr_clone(dlg->pool, dlg->local.info);

	pj_create_unique_string(dlg->pool, &nobody->tag);
	ast_mutex_lock(&adopt_lock);
	if (pjsip_ua_unregister_dlg(pjsip_ua_instance(), dlg) == PJ_SUCCESS) {
		dlg->local.info = nobody;
		dlg->local.tag_hval = pj_hash_calc_tolower(0, NULL, &nobody->tag);
		/* A dialog of role UAS would replace another one with its tag: nobody has this one. */
		pjsip_ua_register_dlg(pjsip_ua_instance(), dlg);
	}
	ast_mutex_unlock(&adopt_lock);
	if (recovery) {
		ao2_unlink(recoveries, recovery);
	}
}

/*!
 * Forgets the dialog, so that ending the session sends nothing. Dialog locked.
 *
 * In the NULL state without a transaction, ast_sip_session_terminate() runs Asterisk's whole
 * clean-up at once; pjsip_inv_terminate() alone, on a confirmed session, never does.
 */
static void forget_dialog(pjsip_inv_session *inv)
{
	pjsip_timer_end_session(inv);
	abandon_identity(inv->dlg);
	show_session(inv);
	pjsip_inv_uac_restart(inv, PJ_FALSE);
}

/*! The peer does not know the dialog, or never did: a BYE would be answered with 481. */
static int peer_lacks_dialog(const struct task *task)
{
	return task->recovery->foreign
		|| task->ending.status == PJSIP_SC_CALL_TSX_DOES_NOT_EXIST;
}

/*! Ends the session of a failed recovery, as the controller chose. On the serializer. */
static int end_failed_task(void *data)
{
	struct task *task = data;
	struct ast_sip_session *session = task->session;
	pjsip_inv_session *inv = session->inv_session;
	int silent = 1;
	const char *outcome;

	if (peer_lacks_dialog(task)) {
		outcome = "gone";
		COUNT(gone);
	} else if (task->recovery->plan->keep) {
		outcome = "kept";
		COUNT(kept);
	} else {
		outcome = "ended";
		silent = 0;
		COUNT(ended);
	}
	set_result(session, outcome, &task->ending);
	set_cause(session, task->ending.status
		? ast_sip_hangup_sip2cause(task->ending.status) : AST_CAUSE_FAILURE,
		task->ending.status);

	if (inv->state != PJSIP_INV_STATE_DISCONNECTED) {
		pjsip_dlg_inc_lock(inv->dlg);
		if (silent) {
			forget_dialog(inv);
		} else {
			show_session(inv);
		}
		pjsip_dlg_dec_lock(inv->dlg);
		ast_sip_session_terminate(session, task->ending.status);
	}
	task_free(task);
	return 0;
}

/*!
 * The INVITE has failed for good. The INVITE usage and Asterisk are kept from seeing it, because
 * each would end the session in its own way, with or without a BYE. Dialog locked.
 */
static void fail(struct recovery *recovery, struct ending *ending)
{
	pjsip_inv_session *inv = recovery->session->inv_session;

	if (recovery->foreign) {
		ast_copy_string(ending->reason, "answered with another To tag",
			sizeof(ending->reason));
	}
	hide_session(inv);
	inv->invite_tsx = NULL;
	push_task(recovery, ending, end_failed_task);
	decide(recovery);
}

static int bye_result_task(void *data)
{
	struct task *task = data;

	set_result(task->session, "ended", &task->ending);
	task_free(task);
	return 0;
}

/*! The BYE of METHOD=BYE is answered, or could not be sent. Dialog locked. */
static void finish_bye(struct recovery *recovery, const struct ending *ending)
{
	COUNT(ended);
	push_task(recovery, ending, bye_result_task);
	decide(recovery);
}

/*!
 * Runs after Asterisk has seen a challenge, and after the first request should have left. When no
 * further request was sent, nobody tells the channel: an INVITE with no credentials, or after too
 * many challenges, would leave it ringing. On the serializer.
 */
static int check_retry_task(void *data)
{
	struct task *task = data;
	struct recovery *recovery = task->recovery;
	pjsip_inv_session *inv = task->session->inv_session;

	if (inv->state != PJSIP_INV_STATE_DISCONNECTED) {
		pjsip_dlg_inc_lock(inv->dlg);
		if (!recovery->decided && recovery->attempts == task->attempts) {
			if (recovery->plan->bye) {
				finish_bye(recovery, &task->ending);
			} else {
				fail(recovery, &task->ending);
			}
		}
		pjsip_dlg_dec_lock(inv->dlg);
	}
	task_free(task);
	return 0;
}

static void answered(struct recovery *recovery, pjsip_transaction *tsx, pjsip_event *event)
{
	struct ending ending;

	describe_ending(&ending, tsx, event);
	COUNT(answered);
	/* The peer's capabilities are learnt from the first 2xx, which this is not for pjsip. */
	if (event->body.tsx_state.type == PJSIP_EVENT_RX_MSG) {
		pjsip_dlg_update_remote_cap(recovery->dlg,
			event->body.tsx_state.src.rdata->msg_info.msg, PJ_FALSE);
	}
	/* Before the INVITE usage queues the answer, so that it is there when Stasis starts. */
	set_result(recovery->session, "answered", &ending);
	decide(recovery);
}

/*! Pjsip or Asterisk may send the request again after one of these. */
static int may_be_retried(int status)
{
	return status == PJSIP_SC_UNAUTHORIZED || status == PJSIP_SC_PROXY_AUTHENTICATION_REQUIRED
		|| status == PJSIP_SC_SESSION_TIMER_TOO_SMALL || status == 494;
}

static int is_final(const pjsip_transaction *tsx, const pjsip_event *event)
{
	return (tsx->state == PJSIP_TSX_STATE_COMPLETED || tsx->state == PJSIP_TSX_STATE_TERMINATED)
		&& event->body.tsx_state.prev_state < PJSIP_TSX_STATE_COMPLETED;
}

static void on_invite_state(struct recovery *recovery, pjsip_transaction *tsx, pjsip_event *event)
{
	struct ending ending;

	if (tsx->state == PJSIP_TSX_STATE_CALLING) {
		recovery->tsx = tsx;
		++recovery->attempts;
		return;
	}
	if (tsx != recovery->tsx || !is_final(tsx, event)) {
		return;
	}
	if (tsx->status_code / 100 == 2) {
		answered(recovery, tsx, event);
		return;
	}
	describe_ending(&ending, tsx, event);
	recovery->tsx = NULL;
	if (ending.origin == ORIGIN_RECEIVED && !recovery->foreign) {
		if (tsx->status_code == PJSIP_SC_REQUEST_PENDING) {
			/* Asterisk tries again after the timer of RFC 3261, section 14.1. */
			return;
		}
		if (may_be_retried(tsx->status_code)) {
			push_task(recovery, &ending, check_retry_task);
			return;
		}
	}
	fail(recovery, &ending);
}

static void on_bye_state(struct recovery *recovery, pjsip_transaction *tsx, pjsip_event *event)
{
	struct ending ending;

	if (tsx->state == PJSIP_TSX_STATE_CALLING) {
		recovery->tsx = tsx;
		++recovery->attempts;
		return;
	}
	if (tsx != recovery->tsx || !is_final(tsx, event)) {
		return;
	}
	describe_ending(&ending, tsx, event);
	recovery->tsx = NULL;
	if (!may_be_retried(tsx->status_code)) {
		finish_bye(recovery, &ending);
		return;
	}
	/*
	 * A challenged BYE is sent again when there are credentials, but the channel may be gone
	 * before that one is answered: say what is known, and correct it later.
	 */
	push_task(recovery, &ending, bye_result_task);
	push_task(recovery, &ending, check_retry_task);
}

/*! The peer hangs up while its answer to our INVITE is still to come. */
static void on_peer_bye(struct recovery *recovery)
{
	struct ending ending = { .origin = ORIGIN_RECEIVED, .reason = "BYE received" };

	COUNT(gone);
	set_result(recovery->session, "gone", &ending);
	decide(recovery);
}

/*! Usage callback: every change of every transaction in the dialog, before pjsip's own usage. */
static void on_tsx_state(pjsip_transaction *tsx, pjsip_event *event)
{
	pjsip_dialog *dlg = pjsip_tsx_get_dlg(tsx);
	struct recovery *recovery = dlg ? dlg->mod_data[recovery_module.id] : NULL;

	if (!recovery || recovery->decided) {
		return;
	}
	if (tsx->role == PJSIP_ROLE_UAS) {
		if (tsx->method.id == PJSIP_BYE_METHOD && tsx->state == PJSIP_TSX_STATE_TRYING
			&& !recovery->plan->bye) {
			on_peer_bye(recovery);
		}
	} else if (tsx->method.id == PJSIP_INVITE_METHOD && !recovery->plan->bye) {
		on_invite_state(recovery, tsx, event);
	} else if (tsx->method.id == PJSIP_BYE_METHOD && recovery->plan->bye) {
		on_bye_state(recovery, tsx, event);
	}
}

/* -- Answers of a peer that took the INVITE for a new call ------------------------------------ */

/*! A request in the dialog that a foreign 2xx made, which nothing else here knows. */
static pjsip_tx_data *foreign_request(pjsip_rx_data *rdata, const pjsip_method *method, int cseq)
{
	pjsip_msg *msg = rdata->msg_info.msg;
	pjsip_contact_hdr *contact = pjsip_msg_find_hdr(msg, PJSIP_H_CONTACT, NULL);
	pjsip_uri *target = contact && contact->uri ? contact->uri : rdata->msg_info.to->uri;
	pjsip_tx_data *tdata;
	pjsip_hdr *header;

	if (pjsip_endpt_create_request_from_hdr(ast_sip_get_pjsip_endpoint(), method,
		pjsip_uri_get_uri(target), rdata->msg_info.from, rdata->msg_info.to, NULL,
		rdata->msg_info.cid, cseq, NULL, &tdata) != PJ_SUCCESS) {
		return NULL;
	}
	/* The route set of a UAC: the Record-Routes of the answer, in reverse. */
	for (header = msg->hdr.prev; header != &msg->hdr; header = header->prev) {
		if (header->type == PJSIP_H_RECORD_ROUTE) {
			pjsip_route_hdr *route = pjsip_hdr_clone(tdata->pool, header);

			pjsip_routing_hdr_set_route(route);
			pjsip_msg_add_hdr(tdata->msg, (pjsip_hdr *) route);
		}
	}
	return tdata;
}

/*! Ends the call that the peer believes to have: ACK and BYE under the tag it gave. */
static void end_foreign_call(pjsip_rx_data *rdata)
{
	pjsip_endpoint *endpoint = ast_sip_get_pjsip_endpoint();
	int cseq = rdata->msg_info.cseq->cseq;
	pjsip_tx_data *tdata;

	tdata = foreign_request(rdata, pjsip_get_ack_method(), cseq);
	if (tdata && pjsip_endpt_send_request_stateless(endpoint, tdata, NULL, NULL) != PJ_SUCCESS) {
		pjsip_tx_data_dec_ref(tdata);
	}
	tdata = foreign_request(rdata, pjsip_get_bye_method(), cseq + 1);
	if (tdata) {
		pjsip_endpt_send_request(endpoint, tdata, -1, NULL, NULL);
	}
}

/*! The peer rings with a new call: take the INVITE back. Dialog locked. */
static void cancel_invite(struct recovery *recovery)
{
	pjsip_tx_data *cancel;

	if (pjsip_endpt_create_cancel(ast_sip_get_pjsip_endpoint(), recovery->tsx->last_tx, &cancel)
		!= PJ_SUCCESS) {
		return;
	}
	pjsip_tsx_stop_retransmit(recovery->tsx);
	pjsip_inv_send_msg(recovery->session->inv_session, cancel);
}

static void on_foreign_answer(struct recovery *recovery, pjsip_rx_data *rdata)
{
	int provisional = rdata->msg_info.msg->line.status.code < 200;

	if (!provisional) {
		end_foreign_call(rdata);
	}
	pjsip_dlg_inc_lock(recovery->dlg);
	if (!recovery->decided && recovery->tsx) {
		if (!provisional) {
			recovery->foreign = 1;
			/* Comes back as on_invite_state(). */
			pjsip_tsx_terminate(recovery->tsx, PJSIP_SC_CALL_TSX_DOES_NOT_EXIST);
		} else if (!recovery->foreign) {
			recovery->foreign = 1;
			cancel_invite(recovery);
		}
	}
	pjsip_dlg_dec_lock(recovery->dlg);
}

/*!
 * Endpoint callback, before the transaction layer: keeps a 1xx or 2xx with a To tag that is not
 * the dialog's away from the dialog, which would take it for the answer.
 */
static pj_bool_t on_rx_response(pjsip_rx_data *rdata)
{
	int status = rdata->msg_info.msg->line.status.code;
	const pj_str_t *to_tag;
	struct recovery *recovery;
	pj_bool_t foreign;

	if (status <= 100 || status >= 300 || !rdata->msg_info.cseq || !rdata->msg_info.to
		|| !rdata->msg_info.from || !rdata->msg_info.cid
		|| rdata->msg_info.cseq->method.id != PJSIP_INVITE_METHOD) {
		return PJ_FALSE;
	}
	recovery = recovery_find(&rdata->msg_info.cid->id, &rdata->msg_info.from->tag);
	if (!recovery) {
		return PJ_FALSE;
	}
	to_tag = &rdata->msg_info.to->tag;
	foreign = to_tag->slen && pj_stricmp2(to_tag, recovery->remote_tag);
	if (foreign) {
		on_foreign_answer(recovery, rdata);
	}
	ao2_ref(recovery, -1);
	return foreign;
}

/* -- A channel that is hung up before the answer ---------------------------------------------- */

/*!
 * Asterisk would delay the BYE until the INVITE ends, which without an answer takes 32 s of
 * retransmitting it. On the serializer.
 */
static int end_abandoned_task(void *data)
{
	struct task *task = data;
	struct recovery *recovery = task->recovery;
	pjsip_inv_session *inv = task->session->inv_session;
	pjsip_tx_data *cancel;
	int abandoned = 0;

	pjsip_dlg_inc_lock(inv->dlg);
	if (!recovery->decided) {
		if (inv->state == PJSIP_INV_STATE_CONFIRMED && recovery->tsx
			&& inv->invite_tsx == recovery->tsx) {
			if (recovery->tsx->status_code < 100) {
				pjsip_tsx_stop_retransmit(recovery->tsx);
			} else if (pjsip_inv_cancel_reinvite(inv, &cancel) == PJ_SUCCESS && cancel) {
				pjsip_inv_send_msg(inv, cancel);
			}
			/* What Asterisk waits for before it sends the BYE */
			inv->invite_tsx = NULL;
			abandoned = 1;
		}
		/* Otherwise, as between two tries, Asterisk has sent the BYE itself. */
		COUNT(ended);
		decide(recovery);
	}
	pjsip_dlg_dec_lock(inv->dlg);
	if (abandoned) {
		ast_sip_session_terminate(task->session, 0);
	}
	task_free(task);
	return 0;
}

/*! Datastore callback; any thread. */
static void on_channel_destroyed(void *data)
{
	struct task *task = data;

	if (task->recovery->decided
		|| ast_sip_push_task(task->session->serializer, end_abandoned_task, task)) {
		task_free(task);
	}
}

static const struct ast_datastore_info channel_datastore = {
	.type = "pjsip_recovery",
	.destroy = on_channel_destroyed,
};

static int watch_channel(struct ast_channel *chan, struct recovery *recovery)
{
	struct ast_datastore *datastore = ast_datastore_alloc(&channel_datastore, NULL);

	if (!datastore) {
		return -1;
	}
	datastore->data = task_alloc(recovery);
	if (!datastore->data) {
		ast_datastore_free(datastore);
		return -1;
	}
	ast_channel_lock(chan);
	ast_channel_datastore_add(chan, datastore);
	ast_channel_unlock(chan);
	return 0;
}

/* -- The hook --------------------------------------------------------------------------------- */

/*! Keeps the INVITE from being sent, for a task that runs when Asterisk has let go of it. */
static void hold_back_invite(struct ast_sip_session *session, int (*task)(void *))
{
	session->inv_session->invite_tsx = &not_sent;
	if (ast_sip_push_task(session->serializer, task, ao2_bump(session))) {
		ao2_ref(session, -1);
	}
}

static int end_refused_task(void *data)
{
	struct ast_sip_session *session = data;

	session->inv_session->invite_tsx = NULL;
	ast_sip_session_terminate(session, PJSIP_SC_BAD_REQUEST);
	ao2_ref(session, -1);
	return 0;
}

static void refuse_session(struct ast_sip_session *session, const struct plan *plan)
{
	struct ending ending = { .origin = ORIGIN_LOCAL };

	COUNT(refused);
	ast_copy_string(ending.reason, plan->refusal, sizeof(ending.reason));
	ast_log(LOG_WARNING, "%s: recovery refused, nothing sent: %s\n",
		ast_channel_name(session->channel), plan->refusal);
	set_result(session, "refused", &ending);
	set_cause(session, AST_CAUSE_PROTOCOL_ERROR, 0);
	hold_back_invite(session, end_refused_task);
}

static int send_bye_task(void *data)
{
	struct ast_sip_session *session = data;

	session->inv_session->invite_tsx = NULL;
	ast_sip_session_terminate(session, 0);
	ao2_ref(session, -1);
	return 0;
}

/*! The dialog changes hands here. Dialog locked; 0, or -1 with nothing sent and a refusal. */
static int adopt(struct ast_sip_session *session, pjsip_tx_data *tdata, struct plan *plan)
{
	pjsip_inv_session *inv = session->inv_session;
	pjsip_dialog *dlg = inv->dlg;
	struct recovery *recovery = recovery_alloc(session, plan);

	if (!recovery) {
		ast_copy_string(plan->refusal, "out of memory", sizeof(plan->refusal));
		return -1;
	}
	if (!plan->bye && continue_sdp(session, tdata, plan)) {
		ast_copy_string(plan->refusal, "SDP cannot be continued", sizeof(plan->refusal));
		ao2_ref(recovery, -1);
		return -1;
	}
	if (register_identity(dlg, plan)) {
		ast_copy_string(plan->refusal, "dialog lives on this server", sizeof(plan->refusal));
		ao2_ref(recovery, -1);
		return -1;
	}
	if (tdata->msg->body && !plan->bye) {
		recovery->print_sdp = tdata->msg->body->print_body;
	}
	establish_dialog(inv, plan);
	pjsip_dlg_add_usage(dlg, &recovery_module, recovery);
	ao2_link(recoveries, recovery);
	pj_grp_lock_add_handler(dlg->grp_lock_, NULL, recovery, on_dialog_destroyed);
	COUNT(adopted);

	watch_channel(session->channel, recovery);
	if (plan->bye) {
		hold_back_invite(session, send_bye_task);
	} else {
		struct ending ending = { .origin = ORIGIN_LOCAL, .reason = "INVITE could not be sent" };

		rewrite_message(dlg, tdata);
		push_task(recovery, &ending, check_retry_task);
	}
	return 0;
}

/*! ARI's protocol_id is taken when the channel is made: with the Call-ID that is now replaced. */
static void publish_call_id(struct ast_channel *chan)
{
	ast_channel_lock(chan);
	ast_channel_snapshot_invalidate_segment(chan, AST_CHANNEL_SNAPSHOT_INVALIDATE_BASE);
	ast_channel_publish_snapshot(chan);
	ast_channel_unlock(chan);
}

/*! A later message of a recovered session */
static void on_later_message(struct ast_sip_session *session, pjsip_tx_data *tdata)
{
	pjsip_dialog *dlg = session->inv_session->dlg;
	struct recovery *recovery = dlg->mod_data[recovery_module.id];

	if (recovery) {
		pjsip_dlg_inc_lock(dlg);
		if (!recovery->decided && tdata->msg->type == PJSIP_REQUEST_MSG) {
			continue_retried_offer(session, tdata, recovery->plan);
		}
		keep_origin(recovery, tdata);
		pjsip_dlg_dec_lock(dlg);
	}
}

/*! Supplement callback: a session sends an INVITE or UPDATE. */
static void outgoing_request(struct ast_sip_session *session, pjsip_tx_data *tdata)
{
	pjsip_inv_session *inv = session->inv_session;
	pjsip_dialog *dlg = inv->dlg;
	struct plan *plan;
	int failed;

	if (dlg->mod_data[recovery_module.id]) {
		/* A retry of the recovery, or an ordinary re-INVITE of the recovered call */
		on_later_message(session, tdata);
		return;
	}
	if (!session->channel || inv->state != PJSIP_INV_STATE_NULL || inv->invite_tsx
		|| tdata->msg->line.req.method.id != PJSIP_INVITE_METHOD) {
		return;
	}
	plan = PJ_POOL_ZALLOC_T(dlg->pool, struct plan);
	if (!read_variables(session->channel, dlg->pool, plan)) {
		return;
	}
	failed = parse_plan(dlg->pool, plan);
	if (!failed) {
		pjsip_dlg_inc_lock(dlg);
		failed = adopt(session, tdata, plan);
		pjsip_dlg_dec_lock(dlg);
	}
	if (failed) {
		refuse_session(session, plan);
		return;
	}
	ast_debug(1, "%s: takes over dialog %.*s, From tag %.*s, To tag %.*s, CSeq %u\n",
		ast_channel_name(session->channel), (int) dlg->call_id->id.slen, dlg->call_id->id.ptr,
		(int) plan->local->tag.slen, plan->local->tag.ptr, (int) plan->remote->tag.slen,
		plan->remote->tag.ptr, plan->cseq);
	publish_call_id(session->channel);
}

static struct ast_sip_session_supplement recovery_supplement = {
	.method = "INVITE,UPDATE",
	/* After all that other modules add to the message */
	.priority = AST_SIP_SUPPLEMENT_PRIORITY_LAST,
	.outgoing_request = outgoing_request,
	.outgoing_response = on_later_message,
};

/* -- Giving up a live dialog ------------------------------------------------------------------ */

static int release_task(void *data)
{
	struct ast_sip_session *session = data;
	pjsip_inv_session *inv = session->inv_session;
	struct ending ending = { .origin = ORIGIN_LOCAL, .reason = "released" };

	if (inv->state != PJSIP_INV_STATE_DISCONNECTED) {
		struct recovery *recovery;

		pjsip_dlg_inc_lock(inv->dlg);
		recovery = inv->dlg->mod_data[recovery_module.id];
		if (recovery && !recovery->decided) {
			decide(recovery);
		}
		hide_session(inv);
		if (inv->invite_tsx && inv->invite_tsx != &not_sent
			&& inv->invite_tsx->state < PJSIP_TSX_STATE_TERMINATED) {
			pjsip_tsx_terminate(inv->invite_tsx, PJSIP_SC_REQUEST_TERMINATED);
		}
		forget_dialog(inv);
		pjsip_dlg_dec_lock(inv->dlg);
		COUNT(released);
		set_result(session, "released", &ending);
		ast_sip_session_terminate(session, 0);
	}
	ao2_ref(session, -1);
	return 0;
}

/*! \retval 0 under way; \retval -1 no such PJSIP channel */
static int release_channel(struct ast_channel *chan)
{
	struct ast_sip_session *session = NULL;

	ast_channel_lock(chan);
	if (!strcmp(ast_channel_tech(chan)->type, "PJSIP") && ast_channel_tech_pvt(chan)) {
		struct ast_sip_channel_pvt *pvt = ast_channel_tech_pvt(chan);

		session = ao2_bump(pvt->session);
	}
	ast_channel_unlock(chan);
	if (!session) {
		return -1;
	}
	if (ast_sip_push_task(session->serializer, release_task, session)) {
		ao2_ref(session, -1);
		return -1;
	}
	return 0;
}

static int release_by_name(const char *name)
{
	struct ast_channel *chan = ast_channel_get_by_name(name);
	int res;

	if (!chan) {
		return -1;
	}
	res = release_channel(chan);
	ast_channel_unref(chan);
	return res;
}

static int release_write(struct ast_channel *chan, const char *cmd, char *data, const char *value)
{
	char *name;
	int res = 0;

	if (!ast_true(value)) {
		return 0;
	}
	if (ast_strlen_zero(data)) {
		return chan ? release_channel(chan) : -1;
	}
	while ((name = ast_strip(strsep(&data, ",")))) {
		if (!ast_strlen_zero(name) && release_by_name(name)) {
			ast_log(LOG_NOTICE, "%s: no PJSIP channel '%s'\n", cmd, name);
			res = -1;
		}
		if (!data) {
			break;
		}
	}
	return res;
}

static struct ast_custom_function release_function = {
	.name = "PJSIP_RECOVERY_RELEASE",
	.write = release_write,
};

/* -- The variables without events -------------------------------------------------------------- */

static int set_silently(struct ast_channel *chan, const char *name, const char *value)
{
	struct ast_var_t *variable = ast_var_assign(name, value);

	if (!variable) {
		return -1;
	}
	ast_channel_lock(chan);
	AST_LIST_INSERT_HEAD(ast_channel_varshead(chan), variable, entries);
	ast_channel_unlock(chan);
	return 0;
}

/*! The channel's own variable, as all that count here, never a global. Channel locked. */
static const char *own_variable(struct ast_channel *chan, const char *name)
{
	struct ast_var_t *variable;

	AST_LIST_TRAVERSE(ast_channel_varshead(chan), variable, entries) {
		if (!strcmp(ast_var_name(variable), name)) {
			return ast_var_value(variable);
		}
	}
	return NULL;
}

/*!
 * PJSIP_RECOVERY(NAME): sets the channel variable PJSIP_RECOVERY_NAME as Set() would, but tells
 * nobody. A variable set by its name is a Stasis message with a snapshot of the channel for every
 * subscriber: for the dozen that a dialog has, that is most of the work of making the channel.
 */
static int set_write(struct ast_channel *chan, const char *cmd, char *data, const char *value)
{
	char name[64];
	int id;

	if (!chan) {
		ast_log(LOG_WARNING, "%s: is of a channel, not a global\n", cmd);
		return -1;
	}
	for (id = 0; id < VAR_COUNT && strcmp(S_OR(data, ""), variables[id].name); ++id) {
	}
	if (id == VAR_COUNT && strcmp(S_OR(data, ""), FLOW)) {
		ast_log(LOG_WARNING, "%s: there is no variable '%s'\n", cmd, S_OR(data, ""));
		return -1;
	}
	snprintf(name, sizeof(name), VARIABLE_PREFIX "%s", data);
	return set_silently(chan, name, S_OR(value, ""));
}

static struct ast_custom_function set_function = {
	.name = "PJSIP_RECOVERY",
	.write = set_write,
};

/*! Asterisk looks for documentation in XML files, where a module from outside has none. */
static int register_function(struct ast_custom_function *function, const char *synopsis,
	const char *syntax, const char *desc)
{
	if (ast_string_field_init(function, 512)) {
		return -1;
	}
	ast_string_field_set(function, synopsis, synopsis);
	ast_string_field_set(function, syntax, syntax);
	ast_string_field_set(function, desc, desc);
	return ast_custom_function_register(function);
}

static void register_functions(void)
{
	register_function(&release_function,
		"Give up PJSIP channels without a packet to their peers.",
		"PJSIP_RECOVERY_RELEASE([channel[,...]])",
		"Write a true value: each channel, by unique id or name, ends here, and neither BYE nor "
		"CANCEL is sent, since another server has taken over its dialog. Without a name: this "
		"channel. Also works as the name of a global variable, which needs no channel.");
	register_function(&set_function,
		"Set a variable of the dialog to recover, without an event.",
		"PJSIP_RECOVERY(name)",
		"Sets the channel variable PJSIP_RECOVERY_name.");
}

static void unregister_functions(void)
{
	ast_custom_function_unregister(&set_function);
	ast_string_field_free_memory(&set_function);
	ast_custom_function_unregister(&release_function);
	ast_string_field_free_memory(&release_function);
}

/* -- The flow of a recovered call -------------------------------------------------------------- */

/*
 * What the call was doing, as its controller says it in PJSIP_RECOVERY_FLOW. A controller could do
 * the same over ARI once it has heard of the answer; but each of its requests is as much work as
 * half of making the channel, at the moment when the server makes hundreds, and the phone hears
 * nothing meanwhile.
 *
 * The channel's thread enters Stasis and stays there, and to put a channel into a bridge means to
 * wait for that thread: so another one does it. It begins when the channel is first read inside
 * Stasis, when res_stasis knows it for certain; a null frame sees to it that this is at once. It
 * does not begin in the hook itself, which runs with the channel locked: res_stasis locks its
 * queue of commands before the channel.
 */

/*! The flow of one channel. An ao2 object, held by resume_flow(), the hook and the task. */
struct flow {
	struct ast_channel *chan;
	/*! {"stasis":{"app","args":[]},"bridge":{"id","type","name"},"playback":{"id","media":[],..}} */
	struct ast_json *wanted;
	const char *app;
	int hook;
	/*! The channel was read in Stasis, and the task is pushed. Guarded by the channel lock. */
	unsigned int begun:1;
	/*! The channel has left that Stasis again. Guarded by the channel lock. */
	unsigned int over:1;
};

/*! Puts flows back. */
static struct ast_threadpool *flow_threads;

/*!
 * Held while looking for a bridge and making it, so that two legs of a call cannot make two here.
 * ARI's own request looks and makes without a lock, as it does beside others of its kind.
 */
AST_MUTEX_DEFINE_STATIC(bridge_lock);

static void flow_destroy(void *object)
{
	struct flow *flow = object;

	ast_json_unref(flow->wanted);
	ast_channel_unref(flow->chan);
	ast_module_unref(AST_MODULE_SELF);
}

static const char *flow_text(struct ast_json *object, const char *name)
{
	const char *text = ast_json_string_get(ast_json_object_get(object, name));

	return S_OR(text, NULL);
}

static int are_texts(struct ast_json *list)
{
	size_t i;

	if (list && ast_json_typeof(list) != AST_JSON_ARRAY) {
		return 0;
	}
	for (i = 0; i < ast_json_array_size(list); ++i) {
		if (ast_json_typeof(ast_json_array_get(list, i)) != AST_JSON_STRING) {
			return 0;
		}
	}
	return 1;
}

/*! \return what is wrong with it, or NULL */
static const char *check_flow(struct ast_json *wanted)
{
	struct ast_json *stasis = ast_json_object_get(wanted, "stasis");
	struct ast_json *bridge = ast_json_object_get(wanted, "bridge");
	struct ast_json *playback = ast_json_object_get(wanted, "playback");

	if (!wanted) {
		return "is no JSON";
	}
	if (!flow_text(stasis, "app") || !are_texts(ast_json_object_get(stasis, "args"))) {
		return "has no stasis.app, or arguments that are no texts";
	}
	if (bridge && !flow_text(bridge, "id")) {
		return "has a bridge without an id";
	}
	if (playback && (!flow_text(playback, "id")
			|| !ast_json_array_size(ast_json_object_get(playback, "media"))
			|| !are_texts(ast_json_object_get(playback, "media")))) {
		return "has a playback without an id or media";
	}
	return NULL;
}

/*!
 * The flow that a channel was given, which is used once; NULL when there is none that can be used.
 * Until there is a result, the channel says that one is under way.
 */
static struct flow *take_flow(struct ast_channel *chan)
{
	struct ast_json *wanted;
	const char *fault;
	const char *text;
	struct flow *flow;

	ast_channel_lock(chan);
	text = own_variable(chan, FLOW_RESULT_VARIABLE) ? NULL : own_variable(chan, FLOW_VARIABLE);
	if (ast_strlen_zero(text) || set_silently(chan, FLOW_RESULT_VARIABLE, "underway")) {
		ast_channel_unlock(chan);
		return NULL;
	}
	wanted = ast_json_load_string(text, NULL);
	ast_channel_unlock(chan);
	fault = check_flow(wanted);
	flow = fault ? NULL : ao2_alloc_options(sizeof(*flow), flow_destroy, AO2_ALLOC_OPT_LOCK_NOLOCK);
	if (!flow) {
		ast_log(LOG_WARNING, "%s: left to its controller: " FLOW_VARIABLE " %s\n",
			ast_channel_name(chan), S_OR(fault, "is too much: out of memory"));
		pbx_builtin_setvar_helper(chan, FLOW_RESULT_VARIABLE, "none;reason=cannot be read");
		ast_json_unref(wanted);
		return NULL;
	}
	ast_module_ref(AST_MODULE_SELF);
	flow->chan = ast_channel_ref(chan);
	flow->wanted = wanted;
	flow->app = flow_text(ast_json_object_get(wanted, "stasis"), "app");
	return flow;
}

/*! \return why the channel is not in its bridge, or NULL */
static const char *join_bridge(struct stasis_app_control *control, struct ast_json *wanted)
{
	struct ast_bridge *bridge;
	int res;

	ast_mutex_lock(&bridge_lock);
	bridge = stasis_app_bridge_find_by_id(flow_text(wanted, "id"));
	if (!bridge) {
		bridge = stasis_app_bridge_create(S_OR(flow_text(wanted, "type"), "mixing"),
			flow_text(wanted, "name"), flow_text(wanted, "id"));
	}
	ast_mutex_unlock(&bridge_lock);
	if (!bridge) {
		return "the bridge cannot be made";
	}
	res = stasis_app_control_add_channel_to_bridge(control, bridge);
	ao2_ref(bridge, -1);
	return res ? "the bridge did not take the channel" : NULL;
}

/*! \return why nothing is played, or NULL */
static const char *begin_playback(struct stasis_app_control *control, struct ast_channel *chan,
	struct ast_json *wanted)
{
	struct ast_json *list = ast_json_object_get(wanted, "media");
	size_t count = ast_json_array_size(list);
	const char **media = ast_calloc(count, sizeof(*media));
	struct stasis_app_playback *playback;
	char *language;
	size_t i;

	if (!media) {
		return "out of memory";
	}
	for (i = 0; i < count; ++i) {
		media[i] = ast_json_string_get(ast_json_array_get(list, i));
	}
	ast_channel_lock(chan);
	language = ast_strdupa(S_OR(flow_text(wanted, "language"), ast_channel_language(chan)));
	ast_channel_unlock(chan);
	playback = stasis_app_control_play_uri(control, media, count, language,
		ast_channel_uniqueid(chan), STASIS_PLAYBACK_TARGET_CHANNEL, 0,
		ast_json_integer_get(ast_json_object_get(wanted, "offset_ms")), flow_text(wanted, "id"));
	ast_free(media);
	if (!playback) {
		return "the playback did not begin";
	}
	ao2_ref(playback, -1);
	return NULL;
}

enum flow_end {
	FLOW_DONE,
	/*! The channel is in its application, but not all of it is back */
	FLOW_FAILED,
	/*! Its application has let go of the channel: nothing is to be put back */
	FLOW_LEFT,
};

/*! The controller takes the variable's event for the end of the work. */
static void report_flow(struct ast_channel *chan, enum flow_end end, const char *reason)
{
	static const char * const names[] = { "done", "failed", "left" };
	char text[128];

	if (end == FLOW_DONE) {
		COUNT(flows);
	} else if (end == FLOW_FAILED) {
		ast_log(LOG_WARNING, "%s: left to its controller: %s\n", ast_channel_name(chan), reason);
	}
	snprintf(text, sizeof(text), "%s%s%s", names[end], reason ? ";reason=" : "", S_OR(reason, ""));
	pbx_builtin_setvar_helper(chan, FLOW_RESULT_VARIABLE, text);
}

/*! Whether the channel is in the application that it was put into, and in no other one since. */
static int is_there(struct flow *flow)
{
	int there;

	ast_channel_lock(flow->chan);
	there = !flow->over && !ast_check_hangup(flow->chan);
	ast_channel_unlock(flow->chan);
	return there;
}

/*! Whether the application is done with the channel: it takes no command then, not even none. */
static int has_let_go(struct stasis_app_control *control)
{
	return stasis_app_send_command_async(control, NULL, NULL, NULL) != 0;
}

/*! On a thread of the pool. */
static int put_back_flow(void *data)
{
	struct flow *flow = data;
	struct ast_json *bridge = ast_json_object_get(flow->wanted, "bridge");
	struct ast_json *playback = ast_json_object_get(flow->wanted, "playback");
	/* Found before it is asked whether the channel is still there: else it may be another's. */
	struct stasis_app_control *control = stasis_app_control_find_by_channel(flow->chan);
	const char *failure = NULL;

	if (control && is_there(flow)) {
		if (bridge) {
			failure = join_bridge(control, bridge);
		}
		if (!failure && playback) {
			failure = begin_playback(control, flow->chan, playback);
		}
	}
	if (!control || !is_there(flow) || (failure && has_let_go(control))) {
		report_flow(flow->chan, FLOW_LEFT, NULL);
	} else {
		report_flow(flow->chan, failure ? FLOW_FAILED : FLOW_DONE, failure);
	}
	ao2_cleanup(control);
	ao2_ref(flow, -1);
	return 0;
}

/*! The first frame that is read of a channel in Stasis. Channel locked. */
static struct ast_frame *on_flow_frame(struct ast_channel *chan, struct ast_frame *frame,
	enum ast_framehook_event event, void *data)
{
	struct flow *flow = data;

	if (event == AST_FRAMEHOOK_EVENT_READ && !flow->begun) {
		flow->begun = 1;
		ast_framehook_detach(chan, flow->hook);
		if (ast_threadpool_push(flow_threads, put_back_flow, ao2_bump(flow))) {
			report_flow(chan, FLOW_FAILED, "out of memory");
			ao2_ref(flow, -1);
		}
	}
	return frame;
}

static void on_flow_hook_destroyed(void *data)
{
	ao2_ref(data, -1);
}

static int watch_flow(struct flow *flow)
{
	struct ast_framehook_interface interface = {
		.version = AST_FRAMEHOOK_INTERFACE_VERSION,
		.event_cb = on_flow_frame,
		.destroy_cb = on_flow_hook_destroyed,
		.disable_inheritance = 1,
		.data = ao2_bump(flow),
	};

	ast_channel_lock(flow->chan);
	flow->hook = ast_framehook_attach(flow->chan, &interface);
	ast_channel_unlock(flow->chan);
	if (flow->hook < 0) {
		ao2_ref(flow, -1);
		return -1;
	}
	ast_queue_frame(flow->chan, &ast_null_frame);
	return 0;
}

/*! \return whether the channel was read in Stasis */
static int end_watch(struct flow *flow)
{
	int begun;

	ast_channel_lock(flow->chan);
	begun = flow->begun;
	flow->over = 1;
	if (!begun) {
		ast_framehook_detach(flow->chan, flow->hook);
	}
	ast_channel_unlock(flow->chan);
	return begun;
}

/*! As Stasis(application,arguments) would be shown. */
static char *stasis_data(const struct flow *flow, size_t argc, char *argv[])
{
	struct ast_str *text = ast_str_create(128);
	char *data = NULL;
	size_t i;

	if (text) {
		ast_str_set(&text, 0, "%s", flow->app);
		for (i = 0; i < argc; ++i) {
			ast_str_append(&text, 0, ",%s", argv[i]);
		}
		data = ast_strdup(ast_str_buffer(text));
		ast_free(text);
	}
	return data;
}

/*! What the channel runs; told to those who ask when there is a reason to. */
static void show_application(struct ast_channel *chan, const char *name, const char *data, int tell)
{
	ast_channel_lock(chan);
	ast_channel_appl_set(chan, name);
	ast_channel_data_set(chan, data);
	if (tell) {
		ast_channel_publish_snapshot(chan);
	}
	ast_channel_unlock(chan);
}

/* -- Waiting for a controller ----------------------------------------------------------------- */

enum stasis_end {
	/*! Over, and the dialplan goes on */
	STASIS_OVER,
	STASIS_HUNG_UP,
	/*! It did not take the channel */
	STASIS_FAILED,
};

static enum stasis_end run_stasis(struct ast_channel *chan, struct ast_app *stasis,
	const char *arguments)
{
	const char *status;
	int failed;

	if (pbx_exec(chan, stasis, arguments)) {
		return STASIS_HUNG_UP;
	}
	ast_channel_lock(chan);
	status = pbx_builtin_getvar_helper(chan, "STASISSTATUS");
	failed = status && !strcmp(status, "FAILED");
	if (failed) {
		/* Who asks ARI must not read that it runs Stasis, which was shown while that failed. */
		ast_channel_publish_snapshot(chan);
	}
	ast_channel_unlock(chan);
	return failed ? STASIS_FAILED : STASIS_OVER;
}

/*! stasis_app_is_registered() is younger than the first releases of each branch. */
static int is_registered(const char *name)
{
	struct stasis_app *app = stasis_app_get_by_name(name);

	ao2_cleanup(app);
	return app != NULL;
}

/*! Into the application that the call was in. STASIS_FAILED: the channel is as it was. */
static enum stasis_end enter_application(struct flow *flow, size_t argc, char *argv[])
{
	struct ast_channel *chan = flow->chan;
	const char *application = ast_channel_appl(chan);
	const char *application_data = ast_channel_data(chan);
	char *data = stasis_data(flow, argc, argv);
	int begun;
	int failed;

	/* A name that nobody has registered would be tried in vain, and every subscriber told. */
	if (!data || !is_registered(flow->app) || watch_flow(flow)) {
		ast_free(data);
		return STASIS_FAILED;
	}
	show_application(chan, "Stasis", data, 1);
	/* Not by the dialplan's Stasis(), which sets a variable with an event before and after. */
	failed = stasis_app_exec(chan, flow->app, argc, argv);
	begun = end_watch(flow);
	show_application(chan, application, application_data, failed && !begun);
	ast_free(data);
	if (failed && !begun) {
		return STASIS_FAILED;
	}
	if (!begun) {
		report_flow(chan, FLOW_LEFT, NULL);
	}
	return ast_check_hangup(chan) ? STASIS_HUNG_UP : STASIS_OVER;
}

static enum stasis_end run_flow(struct flow *flow)
{
	struct ast_json *list = ast_json_object_get(ast_json_object_get(flow->wanted, "stasis"), "args");
	const size_t argc = ast_json_array_size(list);
	char **argv = ast_calloc(argc + 1, sizeof(*argv));
	enum stasis_end end = STASIS_FAILED;
	size_t i;

	if (argv) {
		for (i = 0; i < argc; ++i) {
			argv[i] = (char *) ast_json_string_get(ast_json_array_get(list, i));
		}
		end = enter_application(flow, argc, argv);
		ast_free(argv);
	}
	return end;
}

/*! Goes back to what the call was doing, when that is known. STASIS_FAILED: its controller must. */
static enum stasis_end resume_flow(struct ast_channel *chan)
{
	struct flow *flow = take_flow(chan);
	enum stasis_end end;

	if (!flow) {
		return STASIS_FAILED;
	}
	end = run_flow(flow);
	if (end == STASIS_FAILED) {
		pbx_builtin_setvar_helper(chan, FLOW_RESULT_VARIABLE, "none;reason=not there");
	}
	ao2_ref(flow, -1);
	return end;
}

/*!
 * Stasis, for a channel that must outlive its controller. Asterisk's own ends at once when nobody has
 * registered the name, and the channel with it: a BYE to the phone, because the controller died
 * between the INVITE and its answer.
 */
static int waiting_exec(struct ast_channel *chan, const char *data)
{
	const struct timeval begun = ast_tvnow();
	struct ast_app *stasis = pbx_findapp("Stasis");
	int step = WAITING_STEP_MS;
	enum stasis_end end;

	if (!stasis) {
		ast_log(LOG_ERROR, "%s: Asterisk has no application Stasis: load app_stasis\n",
			ast_channel_name(chan));
		return -1;
	}
	end = resume_flow(chan);
	if (end == STASIS_FAILED) {
		end = run_stasis(chan, stasis, data);
	}
	while (end == STASIS_FAILED) {
		if (ast_tvdiff_ms(ast_tvnow(), begun) >= WAITING_MS) {
			ast_log(LOG_WARNING, "%s: nobody took the recovered call for %d s\n",
				ast_channel_name(chan), WAITING_MS / 1000);
			return -1;
		}
		if (ast_safe_sleep(chan, step)) {
			return -1;
		}
		step = MIN(2 * step, WAITING_LONGEST_STEP_MS);
		end = run_stasis(chan, stasis, data);
	}
	return end == STASIS_OVER ? 0 : -1;
}

static int register_waiting(void)
{
	if (ast_register_application2(WAITING_APPLICATION, waiting_exec,
		"Wait for the controller of a recovered call.",
		"PJSIPRecovered(name): as Stasis(name), but waits until the name is registered.",
		AST_MODULE_SELF)) {
		return -1;
	}
	if (!ast_context_find_or_create(NULL, NULL, WAITING_CONTEXT, AST_MODULE)
		|| ast_add_extension(WAITING_CONTEXT, 1, WAITING_EXTENSION, 1, NULL, NULL,
			WAITING_APPLICATION, ast_strdup("${EXTEN:4}"), ast_free_ptr, AST_MODULE)) {
		ast_unregister_application(WAITING_APPLICATION);
		return -1;
	}
	return 0;
}

static void unregister_waiting(void)
{
	ast_context_destroy(NULL, AST_MODULE);
	ast_unregister_application(WAITING_APPLICATION);
}

/* -- CLI -------------------------------------------------------------------------------------- */

static char *cli_show(struct ast_cli_entry *e, int cmd, struct ast_cli_args *a)
{
	switch (cmd) {
	case CLI_INIT:
		e->command = "pjsip show recovery";
		e->usage =
			"Usage: pjsip show recovery\n"
			"       Show what the recovery of dialogs did and which dialogs exist.\n";
		return NULL;
	case CLI_GENERATE:
		return NULL;
	}
	if (a->argc != e->args) {
		return CLI_SHOWUSAGE;
	}
	ast_cli(a->fd, "Contract version:   %s\n", CONTRACT_VERSION);
	ast_cli(a->fd, "pjproject:          %s\n", pj_get_version());
	ast_cli(a->fd, "Dialog sets:        %u\n", pjsip_ua_get_dlg_set_count());
	ast_cli(a->fd, "Recovered dialogs:  %d\n", ao2_container_count(recoveries));
	ast_cli(a->fd, "Taken over:         %d\n", counters.adopted);
	ast_cli(a->fd, "Answered:           %d\n", counters.answered);
	ast_cli(a->fd, "Kept:               %d\n", counters.kept);
	ast_cli(a->fd, "Ended:              %d\n", counters.ended);
	ast_cli(a->fd, "Gone:               %d\n", counters.gone);
	ast_cli(a->fd, "Refused:            %d\n", counters.refused);
	ast_cli(a->fd, "Released:           %d\n", counters.released);
	ast_cli(a->fd, "Flows put back:     %d\n", counters.flows);
	return CLI_SUCCESS;
}

static char *cli_release(struct ast_cli_entry *e, int cmd, struct ast_cli_args *a)
{
	switch (cmd) {
	case CLI_INIT:
		e->command = "pjsip release channel";
		e->usage =
			"Usage: pjsip release channel <channel>\n"
			"       End a channel here and send nothing to its peer, because another\n"
			"       server has taken over its dialog.\n";
		return NULL;
	case CLI_GENERATE:
		return a->pos == 3 ? ast_complete_channels(a->line, a->word, a->pos, a->n, 3) : NULL;
	}
	if (a->argc != e->args + 1) {
		return CLI_SHOWUSAGE;
	}
	if (release_by_name(a->argv[3])) {
		ast_cli(a->fd, "No PJSIP channel '%s'\n", a->argv[3]);
		return CLI_FAILURE;
	}
	ast_cli(a->fd, "Released '%s'\n", a->argv[3]);
	return CLI_SUCCESS;
}

static struct ast_cli_entry cli_commands[] = {
	AST_CLI_DEFINE(cli_show, "Show the state of dialog recovery"),
	AST_CLI_DEFINE(cli_release, "End a PJSIP channel without telling its peer"),
};

/* -- Module ----------------------------------------------------------------------------------- */

/*! The module writes to pjsip's structures, whose layout belongs to one version. */
static int pjproject_fits(void)
{
	char built[32];

	if (PJ_VERSION_NUM_REV) {
		snprintf(built, sizeof(built), "%d.%d.%d%s", PJ_VERSION_NUM_MAJOR, PJ_VERSION_NUM_MINOR,
			PJ_VERSION_NUM_REV, PJ_VERSION_NUM_EXTRA);
	} else {
		snprintf(built, sizeof(built), "%d.%d%s", PJ_VERSION_NUM_MAJOR, PJ_VERSION_NUM_MINOR,
			PJ_VERSION_NUM_EXTRA);
	}
	if (strcmp(built, pj_get_version())) {
		ast_log(LOG_ERROR, "Built for pjproject %s, but this server runs %s: build it again\n",
			built, pj_get_version());
		return 0;
	}
	return 1;
}

static int load_module(void)
{
	struct ast_threadpool_options flow_options = {
		.version = AST_THREADPOOL_OPTIONS_VERSION,
		.idle_timeout = FLOW_THREAD_IDLE_S,
		.auto_increment = 1,
		.max_size = FLOW_THREADS_MAX,
	};

	if (!pjproject_fits()) {
		return AST_MODULE_LOAD_DECLINE;
	}
	recoveries = ao2_container_alloc_hash(AO2_ALLOC_OPT_LOCK_MUTEX, 0, 1031, recovery_hash, NULL,
		recovery_compare);
	if (!recoveries) {
		return AST_MODULE_LOAD_DECLINE;
	}
	flow_threads = ast_threadpool_create("pjsip-recovery", NULL, &flow_options);
	if (!flow_threads) {
		ao2_ref(recoveries, -1);
		return AST_MODULE_LOAD_DECLINE;
	}
	if (ast_sip_register_service(&recovery_module)) {
		ast_threadpool_shutdown(flow_threads);
		ao2_ref(recoveries, -1);
		return AST_MODULE_LOAD_DECLINE;
	}
	if (register_waiting()) {
		ast_sip_unregister_service(&recovery_module);
		ast_threadpool_shutdown(flow_threads);
		ao2_ref(recoveries, -1);
		return AST_MODULE_LOAD_DECLINE;
	}
	register_functions();
	ast_cli_register_multiple(cli_commands, ARRAY_LEN(cli_commands));
	ast_sip_session_register_supplement(&recovery_supplement);
	pbx_builtin_setvar_helper(NULL, VERSION_VARIABLE, CONTRACT_VERSION);
	return AST_MODULE_LOAD_SUCCESS;
}

/*! Asterisk does not get here while a struct recovery or flow exists: each holds the module. */
static int unload_module(void)
{
	pbx_builtin_setvar_helper(NULL, VERSION_VARIABLE, NULL);
	ast_sip_session_unregister_supplement(&recovery_supplement);
	ast_cli_unregister_multiple(cli_commands, ARRAY_LEN(cli_commands));
	unregister_functions();
	unregister_waiting();
	ast_sip_unregister_service(&recovery_module);
	ast_threadpool_shutdown(flow_threads);
	ao2_cleanup(recoveries);
	recoveries = NULL;
	return 0;
}

AST_MODULE_INFO(ASTERISK_GPL_KEY, AST_MODFLAG_LOAD_ORDER, "PJSIP dialog recovery",
	.support_level = AST_MODULE_SUPPORT_EXTENDED,
	.load = load_module,
	.unload = unload_module,
	.load_pri = AST_MODPRI_APP_DEPEND,
	.requires = "res_pjsip,res_pjsip_session,res_stasis,res_stasis_playback",
);
