// SPDX-License-Identifier: Apache-2.0
#include "ari/socket_loop.h"

#include <signal.h>

#include <mutex>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/thread.h"

namespace sipheal::inline v0_1::internal {
namespace {

constexpr char kProtocol[] = "sipheal-ari";

// Events come in crowds. To be woken for each of them costs more than to read it, here and at the
// server that sends it; so a few wait for others, unless there is a crowd already.
constexpr std::chrono::milliseconds kGather{1};
constexpr int kCrowd = 8;
constexpr unsigned int kReadSize = 64 * 1024;  // some fifty events

// libwebsockets writes to stderr and ignores SIGPIPE for the whole process unless told otherwise:
// both are the host's to decide.
lws_context* CreateContext(const lws_context_creation_info& info) {
  static std::once_flag quiet;
  std::call_once(quiet, [] { lws_set_log_level(0, nullptr); });
  struct sigaction before {};
  sigaction(SIGPIPE, nullptr, &before);
  lws_context* const context = lws_create_context(&info);
  sigaction(SIGPIPE, &before, nullptr);
  return context;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SocketLoop>> SocketLoop::Start(const Clock* clock) {
  static const lws_protocols kProtocols[] = {
      {kProtocol, &SocketLoop::OnLws, 0, kReadSize, 0, nullptr, 0},
      {nullptr, nullptr, 0, 0, 0, nullptr, 0},
  };
  std::unique_ptr<SocketLoop> loop(new SocketLoop(clock));
  lws_context_creation_info info{};
  info.port = CONTEXT_PORT_NO_LISTEN;
  info.protocols = kProtocols;
  info.gid = static_cast<gid_t>(-1);
  info.uid = static_cast<uid_t>(-1);
  info.user = loop.get();
  info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
  info.pt_serv_buf_size = kReadSize;  // by default 4 KB, whatever the protocol wants
  loop->context_ = CreateContext(info);
  if (loop->context_ == nullptr) {
    return absl::InternalError(
        "libwebsockets could not make a context: is memory or the limit of "
        "open files used up?");
  }
  loop->turn_ = clock->Monotonic();
  loop->thread_ = StartThread("sipheal-ari", [self = loop.get()] { self->Run(); });
  return loop;
}

SocketLoop::~SocketLoop() { Stop(); }

void SocketLoop::Stop() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  lws_cancel_service(context_);
  thread_.join();
  {
    const MutexLock lock(mutex_);
    closed_ = true;
    tasks_.clear();
  }
  lws_context_destroy(context_);
}

void SocketLoop::Run() {
  thread_id_ = std::this_thread::get_id();
  while (!stopping_) {
    heard_ = 0;
    if (lws_service(context_, 0) < 0) break;
    turn_.store(clock_->Monotonic(), std::memory_order_release);
    if (heard_ > 0 && heard_ < kCrowd) std::this_thread::sleep_for(kGather);
  }
  Drain();
}

void SocketLoop::Post(std::function<void()> task) {
  {
    const MutexLock lock(mutex_);
    if (closed_) return;
    tasks_.push_back(std::move(task));
  }
  lws_cancel_service(context_);
}

void SocketLoop::Drain() {
  turn_.store(clock_->Monotonic(), std::memory_order_release);
  std::vector<std::function<void()>> tasks;
  {
    const MutexLock lock(mutex_);
    tasks.swap(tasks_);
  }
  for (auto& task : tasks) task();
}

lws* SocketLoop::Connect(const ConnectParams& params) {
  lws_client_connect_info info{};
  info.context = context_;
  info.address = params.address.c_str();
  info.port = params.port;
  info.ssl_connection = params.tls ? LCCSCF_USE_SSL : 0;
  info.path = params.path.c_str();
  info.host = params.host.c_str();
  info.local_protocol_name = kProtocol;
  info.ietf_version_or_minus_one = -1;
  info.opaque_user_data = params.events;
  return lws_client_connect_via_info(&info);
}

void SocketLoop::Abandon(lws* socket) {
  lws_set_opaque_user_data(socket, nullptr);
  lws_set_timeout(socket, PENDING_TIMEOUT_CLOSE_ACK, LWS_TO_KILL_ASYNC);
}

int SocketLoop::OnLws(lws* wsi, lws_callback_reasons reason, void* /*user*/, void* in,
                      std::size_t size) {
  if (reason == LWS_CALLBACK_EVENT_WAIT_CANCELLED) {
    static_cast<SocketLoop*>(lws_context_user(lws_get_context(wsi)))->Drain();
    return 0;
  }
  auto* const events = static_cast<SocketEvents*>(lws_get_opaque_user_data(wsi));
  if (events == nullptr) return 0;
  switch (reason) {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER: {
      auto** const cursor = static_cast<unsigned char**>(in);
      const std::string value = events->BasicAuth();
      if (!value.empty() && lws_add_http_header_by_token(
                                wsi, WSI_TOKEN_HTTP_AUTHORIZATION,
                                reinterpret_cast<const unsigned char*>(value.data()),
                                static_cast<int>(value.size()), cursor, *cursor + size) != 0) {
        return -1;
      }
      break;
    }
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
      events->OnOpen();
      break;
    case LWS_CALLBACK_CLIENT_RECEIVE:
      ++static_cast<SocketLoop*>(lws_context_user(lws_get_context(wsi)))->heard_;
      events->OnData(static_cast<const char*>(in), size,
                     lws_is_final_fragment(wsi) != 0 && lws_remaining_packet_payload(wsi) == 0);
      break;
    case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
      events->OnPong();
      break;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
      events->OnWritable();
      break;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
      lws_set_opaque_user_data(wsi, nullptr);
      events->OnClosed(in != nullptr ? std::string(static_cast<const char*>(in))
                                     : std::string("the connection failed"));
      break;
    case LWS_CALLBACK_CLIENT_CLOSED:
      lws_set_opaque_user_data(wsi, nullptr);
      events->OnClosed("closed by the server");
      break;
    case LWS_CALLBACK_WSI_DESTROY:
      // libwebsockets (4.1) says nothing else of a connection that is reset after it was made and
      // before the handshake is sent.
      lws_set_opaque_user_data(wsi, nullptr);
      events->OnClosed("reset before the handshake");
      break;
    default:
      break;
  }
  return 0;
}

void LoopTimer::Arm(std::chrono::microseconds after) {
  armed_ = true;
  lws_sul_schedule(
      loop_.context(), 0, &state_.sul,
      [](lws_sorted_usec_list_t* sul) { reinterpret_cast<State*>(sul)->fire(); }, after.count());
}

void LoopTimer::Disarm() {
  if (!armed_) return;
  armed_ = false;
  lws_sul_schedule(loop_.context(), 0, &state_.sul, nullptr, LWS_SET_TIMER_USEC_CANCEL);
}

}  // namespace sipheal::inline v0_1::internal
