"""What the results say about the machine they come from."""
import platform


def machine() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{len(names)} × {names[0] if names else platform.machine()}, {platform.system()}"
