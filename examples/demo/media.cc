// SPDX-License-Identifier: Apache-2.0
// The ears and mouths of the demo's phones: one UDP socket for each phone's RTP port. To a phone's
// target it sends G.711 packets every 20 ms; of what the phone receives it notes the silences.
//
// Commands come on standard input, one a line:
//   phone IP PORT            opens a phone's RTP port
//   target IP PORT RIP RPORT where this phone sends from now on
//   report                   prints one line of JSON: what each phone received so far
//   quit
// Times are the kernel's receive time stamps, as seconds of the wall clock. So the sockets need to
// be read only now and then, and nobody is woken for a packet: the phones share the processors with
// the servers that are measured.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr std::size_t kPayload = 160;  // 20 ms of G.711
constexpr std::size_t kRtpHeader = 12;
constexpr int kSlots = 10;  // phones send in ten groups, 2 ms apart
constexpr int kTicksBetweenReads = 5;
constexpr double kSilence = 0.06;  // seconds without a packet that are worth noting
constexpr std::size_t kMaxSilences = 64;
// An Asterisk that begins a playback in the middle sends the first packet of the file before it
// seeks; some packets later it is where it was told to be.
constexpr int kSettled = 5;

using Packet = std::array<std::uint8_t, kRtpHeader + kPayload>;

using Payload = std::array<std::uint8_t, kPayload>;

struct Silence {
  double from = 0;
  double to = 0;
  Payload last_before{};  // what was heard last before it,
  Payload soon_after{};   // and as packet number kSettled after it
  int packets_after = 0;
};

struct Phone {
  std::string ip;
  std::uint16_t port = 0;
  int fd = -1;
  bool has_target = false;
  sockaddr_in target{};
  std::uint16_t sequence = 0;
  std::uint32_t timestamp = 0;
  std::uint32_t ssrc = 0;
  std::uint64_t received = 0;
  double first = 0;
  double last = 0;
  Payload heard{};  // the last packet's payload
  std::vector<Silence> silences;
};

std::string Hex(const Payload& payload) {
  std::string text;
  for (const std::uint8_t byte : payload) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 0x0F];
  }
  return text;
}

std::uint8_t MuLaw(int sample) {
  constexpr int kBias = 0x84;
  const int sign = sample < 0 ? 0x80 : 0;
  int magnitude = (sample < 0 ? -sample : sample) + kBias;
  if (magnitude > 32767) magnitude = 32767;
  int exponent = 7;
  for (int mask = 0x4000; exponent > 0 && (magnitude & mask) == 0; mask >>= 1) --exponent;
  const int mantissa = (magnitude >> (exponent + 3)) & 0x0F;
  return static_cast<std::uint8_t>(~(sign | (exponent << 4) | mantissa));
}

class Media {
 public:
  Media()
      : epoll_(epoll_create1(0)),
        sockets_(epoll_create1(0)),
        timer_(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)) {
    // A tone of 400 Hz fits 20 ms exactly, so that every packet is the same.
    for (std::size_t i = 0; i < kPayload; ++i) {
      tone_[i] =
          MuLaw(static_cast<int>(6000 * std::sin(2 * M_PI * 400 * static_cast<double>(i) / 8000)));
    }
    const itimerspec every{{0, 2'000'000}, {0, 2'000'000}};
    timerfd_settime(timer_, 0, &every, nullptr);
    Watch(epoll_, STDIN_FILENO, nullptr);
    Watch(epoll_, timer_, &timer_);
  }

  int Run() {
    std::array<epoll_event, 2> events;
    while (!quit_) {
      const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      if (count < 0 && errno != EINTR) return 1;
      for (int i = 0; i < count; ++i) {
        if (events[static_cast<std::size_t>(i)].data.ptr == &timer_) {
          Tick();
        } else {
          ReceiveAll();
          ReadCommands();
        }
      }
    }
    return 0;
  }

 private:
  static void Watch(int epoll, int fd, void* what) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = what;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  }

  // One packet of each socket that has some, until none has.
  void ReceiveAll() {
    std::array<epoll_event, 256> events;
    for (;;) {
      const int count = epoll_wait(sockets_, events.data(), static_cast<int>(events.size()), 0);
      if (count <= 0) return;
      for (int i = 0; i < count; ++i) {
        Receive(*static_cast<Phone*>(events[static_cast<std::size_t>(i)].data.ptr));
      }
    }
  }

  void ReadCommands() {
    char buffer[65536];
    const ssize_t size = read(STDIN_FILENO, buffer, sizeof buffer);
    if (size <= 0) {
      quit_ = true;
      return;
    }
    pending_.append(buffer, static_cast<std::size_t>(size));
    std::size_t end;
    while ((end = pending_.find('\n')) != std::string::npos) {
      Command(pending_.substr(0, end));
      pending_.erase(0, end + 1);
    }
  }

  void Command(const std::string& line) {
    std::istringstream in(line);
    std::string word, ip, remote_ip;
    std::uint16_t port = 0, remote_port = 0;
    in >> word >> ip >> port >> remote_ip >> remote_port;
    if (word == "phone") {
      Open(ip, port);
    } else if (word == "target") {
      const auto found = phones_.find({ip, port});
      if (found == phones_.end()) return;  // a phone without RTP of its own
      Phone& phone = *found->second;
      phone.target.sin_family = AF_INET;
      phone.target.sin_port = htons(remote_port);
      phone.has_target = inet_pton(AF_INET, remote_ip.c_str(), &phone.target.sin_addr) == 1;
    } else if (word == "report") {
      Report();
    } else if (word == "quit") {
      quit_ = true;
    }
  }

  void Open(const std::string& ip, std::uint16_t port) {
    auto phone = std::make_unique<Phone>();
    phone->ip = ip;
    phone->port = port;
    phone->ssrc = static_cast<std::uint32_t>(phones_.size() + 1) * 2654435761U;
    phone->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    sockaddr_in own{};
    own.sin_family = AF_INET;
    own.sin_port = htons(port);
    inet_pton(AF_INET, ip.c_str(), &own.sin_addr);
    if (bind(phone->fd, reinterpret_cast<sockaddr*>(&own), sizeof own) != 0) {
      std::fprintf(stderr, "cannot open RTP port %s:%u: %s\n", ip.c_str(), port,
                   std::strerror(errno));
      close(phone->fd);
      return;
    }
    const int on = 1;
    setsockopt(phone->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    Watch(sockets_, phone->fd, phone.get());
    slots_[phones_.size() % kSlots].push_back(phone.get());
    phones_[{ip, port}] = std::move(phone);
  }

  void Tick() {
    std::uint64_t ticks = 0;
    if (read(timer_, &ticks, sizeof ticks) != sizeof ticks) return;
    unread_ += ticks;
    if (unread_ >= kTicksBetweenReads) {
      ReceiveAll();
      unread_ = 0;
    }
    if (ticks > kSlots) ticks = kSlots;  // after a stall: no burst to catch up
    for (; ticks > 0; --ticks) {
      for (Phone* phone : slots_[slot_]) {
        if (phone->has_target) Send(*phone);
      }
      slot_ = (slot_ + 1) % kSlots;
    }
  }

  void Send(Phone& phone) {
    Packet packet;
    const std::uint16_t sequence = htons(phone.sequence++);
    const std::uint32_t timestamp = htonl(phone.timestamp);
    const std::uint32_t ssrc = htonl(phone.ssrc);
    phone.timestamp += kPayload;
    packet[0] = 0x80;  // version 2
    packet[1] = 0;     // PCMU
    std::memcpy(&packet[2], &sequence, 2);
    std::memcpy(&packet[4], &timestamp, 4);
    std::memcpy(&packet[8], &ssrc, 4);
    std::memcpy(&packet[kRtpHeader], tone_.data(), kPayload);
    sendto(phone.fd, packet.data(), packet.size(), 0,
           reinterpret_cast<const sockaddr*>(&phone.target), sizeof phone.target);
  }

  static void Receive(Phone& phone) {
    std::uint8_t buffer[2048];
    alignas(cmsghdr) char control[128];
    iovec data{buffer, sizeof buffer};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t size = recvmsg(phone.fd, &message, 0);
    if (size < static_cast<ssize_t>(kRtpHeader) || (buffer[0] >> 6) != 2) return;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS) continue;
      timespec at;
      std::memcpy(&at, CMSG_DATA(c), sizeof at);
      Payload payload{};
      std::memcpy(payload.data(), buffer + kRtpHeader,
                  std::min(payload.size(), static_cast<std::size_t>(size) - kRtpHeader));
      Note(phone, static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) * 1e-9, payload);
    }
  }

  static void Note(Phone& phone, double at, const Payload& payload) {
    if (phone.received++ == 0) phone.first = at;
    if (phone.last != 0 && at - phone.last >= kSilence && phone.silences.size() < kMaxSilences) {
      phone.silences.push_back({phone.last, at, phone.heard, {}, 0});
    }
    if (!phone.silences.empty() && ++phone.silences.back().packets_after == kSettled) {
      phone.silences.back().soon_after = payload;
    }
    phone.last = at;
    phone.heard = payload;
  }

  void Report() const {
    std::printf("[");
    const char* comma = "";
    for (const auto& [key, phone] : phones_) {
      std::printf(
          "%s{\"ip\":\"%s\",\"port\":%u,\"received\":%llu,\"first\":%.6f,\"last\":%.6f,"
          "\"silences\":[",
          comma, phone->ip.c_str(), phone->port, static_cast<unsigned long long>(phone->received),
          phone->first, phone->last);
      const char* inner = "";
      for (const Silence& silence : phone->silences) {
        std::printf("%s{\"from\":%.6f,\"to\":%.6f,\"before\":\"%s\",\"after\":\"%s\"}", inner,
                    silence.from, silence.to, Hex(silence.last_before).c_str(),
                    Hex(silence.soon_after).c_str());
        inner = ",";
      }
      std::printf("]}");
      comma = ",";
    }
    std::printf("]\n");
    std::fflush(stdout);
  }

  int epoll_;    // commands and the timer
  int sockets_;  // the phones' RTP ports
  int timer_;
  bool quit_ = false;
  std::size_t slot_ = 0;
  std::uint64_t unread_ = 0;  // ticks since the sockets were read
  std::string pending_;
  std::array<std::uint8_t, kPayload> tone_{};
  std::map<std::pair<std::string, std::uint16_t>, std::unique_ptr<Phone>> phones_;
  std::array<std::vector<Phone*>, kSlots> slots_;
};

}  // namespace

int main() { return Media().Run(); }
