// SPDX-License-Identifier: Apache-2.0
// The bare loop that the engine is held against: posts prepared ARI requests one after another,
// each server's over one kept connection, and does nothing else. It reads lines of
//   HOST PORT AUTHORIZATION PATH BODY
// (BODY is JSON in one line, AUTHORIZATION the value after "Basic ") to the end of its input, then
// posts, then prints a line of JSON: times as seconds of the wall clock.
//   {"posts":N,"failed":N,"first_post":S,"last_reply":S}
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

using Server = std::pair<std::string, std::uint16_t>;

struct Post {
  Server server;
  std::string request;
};

double Now() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

int Connect(const Server& server) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server.second);
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (inet_pton(AF_INET, server.first.c_str(), &address.sin_addr) != 1 ||
      connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

// Sends one request and reads its whole reply; the status, or 0 when the connection broke.
int Exchange(int fd, const std::string& request) {
  if (send(fd, request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size())) {
    return 0;
  }
  std::string reply;
  std::size_t head_end = std::string::npos;
  std::size_t wanted = 0;
  while (head_end == std::string::npos || reply.size() < wanted) {
    char buffer[16384];
    const ssize_t size = recv(fd, buffer, sizeof buffer, 0);
    if (size <= 0) return 0;
    reply.append(buffer, static_cast<std::size_t>(size));
    if (head_end == std::string::npos && (head_end = reply.find("\r\n\r\n")) != std::string::npos) {
      const std::size_t length = reply.find("Content-Length: ");
      if (length == std::string::npos || length > head_end) return 0;
      wanted = head_end + 4 + std::strtoul(reply.c_str() + length + 16, nullptr, 10);
    }
  }
  return std::atoi(reply.c_str() + reply.find(' '));
}

std::vector<Post> ReadPosts(std::istream& in) {
  std::vector<Post> posts;
  std::string line;
  while (std::getline(in, line)) {
    std::istringstream words(line);
    Post post;
    std::string authorization, path, body;
    words >> post.server.first >> post.server.second >> authorization >> path;
    std::getline(words >> std::ws, body);
    post.request =
        "POST " + path + " HTTP/1.1\r\nHost: " + post.server.first + "\r\nAuthorization: Basic " +
        authorization +
        "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
        "\r\n\r\n" + body;
    posts.push_back(std::move(post));
  }
  return posts;
}

}  // namespace

int main() {
  const std::vector<Post> posts = ReadPosts(std::cin);
  std::map<Server, int> connections;
  for (const Post& post : posts) {
    if (connections.count(post.server) != 0) continue;
    const int fd = Connect(post.server);
    if (fd < 0) {
      std::fprintf(stderr, "cannot connect to %s:%u\n", post.server.first.c_str(),
                   post.server.second);
      return 1;
    }
    connections[post.server] = fd;
  }
  int failed = 0;
  const double first = Now();
  for (const Post& post : posts) {
    const int status = Exchange(connections[post.server], post.request);
    if (status / 100 == 2) continue;
    ++failed;
    std::fprintf(stderr, "%s:%u answered %d\n", post.server.first.c_str(), post.server.second,
                 status);
    if (status == 0) break;
  }
  std::printf("{\"posts\":%zu,\"failed\":%d,\"first_post\":%.6f,\"last_reply\":%.6f}\n",
              posts.size(), failed, first, Now());
  return failed == 0 ? 0 : 1;
}
