#!/bin/sh
# Finds a Python that can build the environment, then hands over to setup.py.
#
# Everything here is plain POSIX shell, because it runs before anything is known about the machine. An existing
# .venv whose interpreter still runs is used as it is: the common second run decides in a few milliseconds.
set -eu
cd "$(dirname "$0")/.."

usable='import sys; sys.exit(not (3, 11) <= sys.version_info[:2])'
complete='import sys, venv, ensurepip, ssl, zlib; sys.exit(not (3, 11) <= sys.version_info[:2])'

if [ -x .venv/bin/python ] && .venv/bin/python -c "$usable" 2>/dev/null; then
    exec .venv/bin/python scripts/setup.py "$@"
fi

install_line() { # $1: the packages on Debian and Ubuntu
    if command -v apt-get >/dev/null 2>&1; then
        echo "sudo apt install $1"
    elif command -v dnf >/dev/null 2>&1; then
        echo "sudo dnf install python3"
    elif command -v zypper >/dev/null 2>&1; then
        echo "sudo zypper install python313"
    elif command -v pacman >/dev/null 2>&1; then
        echo "sudo pacman -S python"
    elif command -v apk >/dev/null 2>&1; then
        echo "sudo apk add python3"
    elif command -v brew >/dev/null 2>&1; then
        echo "brew install python@3.13"
    else
        echo "see https://www.python.org/downloads/"
    fi
}

# A Python newer than the wheels of the locked packages is taken only if there is no other.
locked='import sys; sys.exit(sys.version_info[:2] > (3, 14))'
newest=""
incomplete=""
too_old=""
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14; do
    path=$(command -v "$candidate" 2>/dev/null) || continue
    version=$("$path" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    if "$path" -c "$complete" 2>/dev/null; then
        if "$path" -c "$locked"; then
            exec "$path" scripts/setup.py "$@"
        fi
        [ -n "$newest" ] || newest=$path
    elif "$path" -c "$usable" 2>/dev/null; then
        [ -n "$incomplete" ] || incomplete="$candidate $version"
    else
        [ -n "$too_old" ] || too_old="$path is Python $version"
    fi
done
[ -z "$newest" ] || exec "$newest" scripts/setup.py "$@"

{
    if [ -n "$incomplete" ]; then
        # Debian and Ubuntu ship venv apart; the package is named after the interpreter that was found.
        case $incomplete in
            "python3 "*) package=python3-venv ;;
            *) package="python${incomplete#* }-venv" ;;
        esac
        echo "Python ${incomplete#* } is here, but its 'venv' module is not. Install it with:"
        echo
        echo "    $(install_line "$package")"
    elif [ -n "$too_old" ]; then
        echo "Althing needs Python 3.11 or newer; $too_old."
        newer=""
        if command -v apt-cache >/dev/null 2>&1; then
            for minor in 13 12 11; do
                if apt-cache show "python3.$minor-venv" >/dev/null 2>&1; then
                    newer="python3.$minor python3.$minor-venv"
                    break
                fi
            done
        fi
        if [ -n "$newer" ]; then
            echo "Install a newer one beside it with:"
            echo
            echo "    sudo apt install $newer"
        elif command -v apt-get >/dev/null 2>&1; then
            echo "This system's packages hold none that is new enough (after 'sudo apt update'). Install one from"
            echo
            echo "    https://www.python.org/downloads/"
        else
            echo "Install a newer one with:"
            echo
            echo "    $(install_line "python3 python3-venv")"
        fi
    else
        echo "Althing needs Python 3.11 or newer; none was found on the PATH. Install it with:"
        echo
        echo "    $(install_line "python3 python3-venv")"
    fi
    echo
    echo "Then run the same command again. (PYTHON=/path/to/python make setup uses an interpreter of your choice.)"
} >&2
exit 1
