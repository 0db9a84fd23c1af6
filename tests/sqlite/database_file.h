// SPDX-License-Identifier: Apache-2.0
// A folder of its own for one database file, and plain SQLite access to that file: what another
// process, an operator or an accident would do to it.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace sipheal::tests {

class DatabaseFile {
 public:
  DatabaseFile() {
    std::string name = (std::filesystem::temp_directory_path() / "sipheal-XXXXXX").string();
    folder_ = mkdtemp(name.data());
  }
  ~DatabaseFile() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  DatabaseFile(const DatabaseFile&) = delete;
  DatabaseFile& operator=(const DatabaseFile&) = delete;

  const std::filesystem::path& folder() const { return folder_; }
  std::string path() const { return (folder_ / "store.db").string(); }

 private:
  std::filesystem::path folder_;
};

class RawConnection {
 public:
  explicit RawConnection(const std::string& path) {
    if (sqlite3_open(path.c_str(), &handle_) != SQLITE_OK) {
      ADD_FAILURE() << "cannot open " << path;
    }
    sqlite3_busy_timeout(handle_, 5000);
  }
  ~RawConnection() { sqlite3_close(handle_); }
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  void Run(const std::string& sql) {
    char* error = nullptr;
    if (sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, &error) != SQLITE_OK) {
      ADD_FAILURE() << sql << ": " << (error != nullptr ? error : "");
      sqlite3_free(error);
    }
  }

  // The first column of the first row.
  std::string Query(const std::string& sql) {
    std::string result;
    const auto take = [](void* out, int columns, char** values, char**) {
      if (columns > 0 && values[0] != nullptr) *static_cast<std::string*>(out) = values[0];
      return 0;
    };
    if (sqlite3_exec(handle_, sql.c_str(), take, &result, nullptr) != SQLITE_OK) {
      ADD_FAILURE() << sql << ": " << sqlite3_errmsg(handle_);
    }
    return result;
  }

 private:
  sqlite3* handle_ = nullptr;
};

}  // namespace sipheal::tests
