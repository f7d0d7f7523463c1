// Folders of files that appear whole or not at all: temporary beside the target, then rename.
#pragma once

#include <memory>
#include <string>

#include "format/status.h"

namespace nwc {

class OutputFolder {
 public:
  // Creates "<path>.tmp-<pid>". An existing folder is kUsage unless it is empty or `replace` is
  // set; one that holds folders is never replaced, nor is a symbolic link. Removes leftovers of
  // dead processes for the same path.
  static Result<std::unique_ptr<OutputFolder>> Create(const std::string& path, bool replace);
  ~OutputFolder();  // removes the temporary and the files in it when not committed
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  // Where to put files, and no folders, until Commit.
  [[nodiscard]] const std::string& temporary() const { return temporary_; }
  // The folder it will be, without a slash at the end.
  [[nodiscard]] const std::string& path() const { return path_; }

  // Gives the folder its name; what had that name is removed. After an error the folder can only be
  // destroyed.
  Status Commit();

 private:
  OutputFolder() = default;
  Status Replace();

  std::string path_, temporary_;
  bool replace_ = false;
  bool created_ = false;
};

}  // namespace nwc
